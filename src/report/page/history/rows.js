// The rows of the picture from top to bottom: faults, members' revisions, and lanes of operations and watches in groups.
const FAULT_ROW = 16, MEMBER_ROW = 36, HEAD_ROW = 22, LANE_ROW = 20, AXIS = 44;

/// The rows; with `only`, a set of lanes, no others.
const rowsOf = (model, only) => {
  const rows = [];
  let y = 4;
  const add = (sort, height, more) => { rows.push({ sort, y, height, ...more }); y += height; };
  const nodes = new Map();
  for (const fault of model.data.faults) {
    if (!nodes.has(fault.node)) nodes.set(fault.node, []);
    nodes.get(fault.node).push(fault);
  }
  if (nodes.size) add("head", HEAD_ROW, { label: "Faults" });
  for (const [node, faults] of nodes) add("fault", FAULT_ROW, { label: node, title: `faults on ${node}`, faults });
  if (model.members.length) add("head", HEAD_ROW, { label: "Revisions that members answered with" });
  for (const [index, member] of model.members.entries()) {
    add("member", MEMBER_ROW, { label: member.name, title: `revisions in answers of ${member.name}`, member, index });
  }
  let group = -1;
  for (const [index, lane] of model.lanes.entries()) {
    if (only && !only.has(index)) continue;
    if (lane.group !== group) add("head", HEAD_ROW, { label: model.data.groups[lane.group] });
    group = lane.group;
    add("lane", LANE_ROW, { label: lane.label, title: lane.title, lane: index, stream: lane.stream });
  }
  return { rows, height: y + 8, byLane: new Map(rows.filter((row) => row.sort === "lane").map((row) => [row.lane, row])) };
};
