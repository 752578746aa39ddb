//! A network of our own for the nodes of one cluster: a network namespace for each, joined by a bridge in one
//! more. Names of nodes go in; addresses, and namespaces to start programs in, come out. Of the machine's own
//! network it touches nothing but one link of its own, by which the lab reaches the nodes; everything is gone
//! when the value is dropped, and what a killed program has left is found by that program's process id.

mod subnet;

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::{Place, spawn};
use crate::lab::{fault::network as filter, say::say_aside};
use subnet::Subnet;

/// All our namespaces begin like this, followed by the process id of who made them.
const PREFIX: &str = "etcd-lab-";
/// Where `ip` keeps namespaces that have names.
const FOLDER: &str = "/run/netns";
/// The node that joins the others.
const HUB: &str = "hub";
/// A file that all programs of one network share, and that can be locked.
const SHARED_BY_NETWORK: &str = "/proc/self/ns/net";
/// In seconds, for an iptables that locks.
const FILTER_LIMIT: &str = "5";

/// Networks that this program has made.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Why there is no network of our own, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// It takes privileges.
    #[error("network namespaces need root, and this user is not")]
    NotRoot,
    /// A program is missing.
    #[error("{program} can't be started: {source} (install it)")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// A program says no.
    #[error("failed to {action}: {said}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// What it said.
        said: String,
    },
    /// No addresses.
    #[error("no private network of 256 addresses is free on this machine")]
    NoSubnet,
    /// The kernel's files.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// No node of that name.
    #[error("{0} has no network namespace")]
    NoNode(String),
}

/// A network that is up.
#[derive(Debug)]
pub struct Network {
    name: String,
    host_link: String,
    nodes: Vec<String>,
    subnet: Subnet,
}

impl Network {
    /// Makes a network of `nodes`, whose names are short enough for a network link's (15 letters).
    pub fn create(nodes: &[&str]) -> Result<Self, NetworkError> {
        if !geteuid().is_root() {
            return Err(NetworkError::NotRoot);
        }
        let (pid, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Until the address is taken, nobody else may choose it.
        let read = |source| NetworkError::Read { path: SHARED_BY_NETWORK, source };
        let lock = File::open(SHARED_BY_NETWORK).map_err(read)?;
        lock.lock().map_err(read)?;
        let network = Self {
            name: format!("{PREFIX}{pid}-{count}"),
            host_link: format!("el{pid}x{count}"),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            subnet: subnet::free(pid.wrapping_mul(31).wrapping_add(u32::try_from(count).unwrap_or(0)))?,
        };
        // From here on, dropping it undoes what is half made.
        network.make()?;
        Ok(network)
    }

    fn make(&self) -> Result<(), NetworkError> {
        let action = "make network namespaces";
        let hub = self.namespace(HUB);
        let mut outside = format!("netns add {hub}\n");
        let mut in_hub = String::from("link add bridge type bridge\nlink set bridge up\n");
        for node in &self.nodes {
            let namespace = self.namespace(node);
            let peer = format!("type veth peer name eth0 netns {namespace}");
            write_line(&mut outside, format_args!("netns add {namespace}"));
            write_line(&mut outside, format_args!("link add name {node} netns {hub} {peer}"));
            write_line(&mut in_hub, format_args!("link set dev {node} master bridge up"));
        }
        let (link, host) = (&self.host_link, self.subnet.host());
        write_line(&mut outside, format_args!("link add {link} type veth peer name host netns {hub}"));
        write_line(&mut outside, format_args!("addr add {host}/24 dev {link}"));
        write_line(&mut outside, format_args!("link set {link} up"));
        write_line(&mut in_hub, format_args!("link set host master bridge up"));
        ip(&[], &outside, action)?;
        ip(&["-netns", &hub], &in_hub, action)?;
        self.nodes.iter().enumerate().try_for_each(|(index, node)| {
            let address = self.subnet.node(index);
            let inside = format!("link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\n");
            ip(&["-netns", &self.namespace(node)], &inside, action)
        })
    }

    /// What the names of all its namespaces begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a node is.
    pub fn place(&self, node: &str) -> Option<Place> {
        let address = self.address(node)?;
        Some(Place { address, namespace: namespace_file(&self.name, node) })
    }

    /// Where a node's packets come from.
    pub fn address(&self, node: &str) -> Option<Ipv4Addr> {
        let index = self.nodes.iter().position(|known| known == node)?;
        Some(self.subnet.node(index))
    }

    /// Replaces what a node filters, by the text of [`filter::filter`].
    pub fn set_filter(&self, node: &str, text: &str) -> Result<(), NetworkError> {
        let namespace = namespace_file(&self.name, node);
        if !namespace.exists() {
            return Err(NetworkError::NoNode(node.to_owned()));
        }
        let mut command = spawn::command_in(Some(&namespace), Path::new(filter::PROGRAM));
        command.args(["--wait", FILTER_LIMIT]);
        feed(command, filter::PROGRAM, text, "set the rules of a network namespace")
    }

    /// Why `text` can't be a filter on this machine, if so. Tried where it has no effect.
    pub fn refusal(&self, text: &str) -> Option<String> {
        self.set_filter(HUB, text).err().map(|error| error.to_string())
    }

    /// Ends what still runs in it, and removes it; once more does nothing.
    pub fn remove(&self) {
        if let Err(error) = remove(&format!("{}-", self.name), Some(&self.host_link)) {
            say_aside!("{error}\nrun `etcd-lab down` when the cause is mended");
        }
    }

    fn namespace(&self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The file of a node's namespace in the network called `network`, whether that is ours or another lab's.
pub fn namespace_file(network: &str, node: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{network}-{node}"))
}

/// Removes what the lab with that process id has left, which must have ended.
pub fn remove_left_by(pid: u32) -> Result<(), NetworkError> {
    remove(&format!("{PREFIX}{pid}-"), None)
}

/// Ends what still runs in the namespaces whose names begin like this, and removes them with all their links.
fn remove(prefix: &str, host_link: Option<&str>) -> Result<(), NetworkError> {
    let names = names(prefix)?;
    if names.is_empty() {
        return Ok(());
    }
    end_processes_in(&names);
    // Otherwise it would go with the hub, but only when the kernel finds the time.
    let mut batch = host_link.map_or_else(String::new, |link| format!("link del {link}\n"));
    for name in &names {
        write_line(&mut batch, format_args!("netns del {name}"));
    }
    match ip(&["-force"], &batch, "remove network namespaces") {
        // What was never made can't be deleted, which is no failure.
        Err(error) if !self::names(prefix)?.is_empty() => Err(error),
        _ => Ok(()),
    }
}

fn names(prefix: &str) -> Result<Vec<String>, NetworkError> {
    match fs::read_dir(FOLDER) {
        // Without a namespace that has a name, there is no folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(NetworkError::Read { path: FOLDER, source }),
        Ok(entries) => Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect()),
    }
}

/// As the end of a container ends all its processes.
fn end_processes_in(names: &[String]) {
    let inode = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.ino());
    let own = inode(Path::new(SHARED_BY_NETWORK));
    let ours: Vec<Option<u64>> = names
        .iter()
        .map(|name| inode(&Path::new(FOLDER).join(name)))
        .filter(|inode| inode.is_some() && *inode != own)
        .collect();
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for process in processes.filter_map(Result::ok) {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        if ours.contains(&inode(&process.path().join("ns/net"))) {
            // One that has ended meanwhile needs no signal.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes any text");
}

/// Runs commands of `ip`, one a line.
fn ip(options: &[&str], lines: &str, action: &'static str) -> Result<(), NetworkError> {
    let mut command = Command::new("ip");
    command.args(options).args(["-batch", "-"]);
    feed(command, "ip", lines, action)
}

fn feed(
    mut command: Command,
    program: &'static str,
    text: &str,
    action: &'static str,
) -> Result<(), NetworkError> {
    let no_program = |source| NetworkError::NoProgram { program, source };
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(no_program)?;
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // One that ends before it has read everything says why.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    let Output { status, stderr, .. } = child.wait_with_output().map_err(no_program)?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr).trim().to_owned();
    Err(NetworkError::Failed { action, said: if said.is_empty() { status.to_string() } else { said } })
}
