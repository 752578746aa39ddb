// Finding: from what stands in the box to the items that fit.
const FIELDS = ["key", "value", "rev", "process", "member", "kind", "outcome"];
const KINDS = { watch: "sbenx", read: "r", range: "r", transaction: "t", election: "k" };
const OUTCOMES = { ok: "ow", wrote: "w", failed: "n", unknown: "u" };

/// The terms of a query as `[field, text]`; a word alone is a part of a key.
const terms = (query) => [...query.matchAll(/(?:(\w+)=)?(?:"([^"]*)"?|(\S+))/g)].map(([all, field, quoted, plain]) =>
  FIELDS.includes(field) ? [field, quoted ?? plain] : ["key", field === undefined ? quoted ?? plain : all]);

/// Whether an item fits a term; null if the term says nothing.
const test = (model, [field, text]) => {
  const { columns, strings } = model;
  const inTexts = (column) => {
    const known = new Int8Array(strings.length);
    const fits = (place) => (known[place] ||= place && strings[place].includes(text) ? 1 : -1) > 0;
    return (item) => (typeof column[item] === "number" ? fits(column[item]) : column[item].some(fits));
  };
  const lower = text.toLowerCase();
  switch (field) {
    case "key": return inTexts(columns.keys);
    case "value": return inTexts(columns.values);
    case "process": return (item) => columns.process[item] === Number(lower.replace(/^p/, ""));
    case "member": return (item) => model.member(item) === text;
    case "rev": {
      const [from, to = from] = text.split("..").map(Number);
      return (item) => model.revision[item] > 0 && model.since[item] <= to && model.revision[item] >= from;
    }
    case "kind": {
      const letters = KINDS[lower] ?? Object.keys(KIND_CLASS).filter((kind) => KIND_CLASS[kind] === lower).join("");
      return (item) => letters.includes(model.kind[item]);
    }
    default: return (item) => (OUTCOMES[lower] ?? "").includes(model.fate[item]);
  }
};

/// The items that fit all terms, in order of time; null if nothing is asked for.
const find = (model, query) => {
  const tests = terms(query.trim()).filter(([, text]) => text !== "").map((term) => test(model, term));
  if (!tests.length) return null;
  const found = [];
  for (let item = 0; item < model.count; item++) if (tests.every((fits) => fits(item))) found.push(item);
  return found;
};
