//! What `--help` shows below the flags of a command: lines that can be typed as they are.

/// Of status.
pub const STATUS: &str = "\
Examples:
  etcd-probe status
  etcd-probe status --hash -o json
  etcd-probe status --watch=5s";

/// Of put.
pub const PUT: &str = "\
Examples:
  etcd-probe put greeting hello --prev-kv
  etcd-probe put --hex 00ff 0102 --member all
  etcd-probe put picture < picture.png";

/// Of range.
pub const RANGE: &str = "\
Examples:
  etcd-probe range greeting --member all --serializable
  etcd-probe range '' --prefix --keys-only --limit 10 -o json
  etcd-probe range a c --rev 7 --sort-by modify --order descend";

/// Of delete.
pub const DELETE: &str = "\
Examples:
  etcd-probe delete greeting --prev-kv
  etcd-probe delete /registry/ --prefix";

/// Of hash.
pub const HASH: &str = "\
Examples:
  etcd-probe hash
  etcd-probe hash --rev 7 --member 0 -o json";

/// Of compact.
pub const COMPACT: &str = "\
Examples:
  etcd-probe compact 100
  etcd-probe compact 100 --physical";

/// Of history.
pub const HISTORY: &str = "\
Examples:
  etcd-probe history greeting
  etcd-probe history greeting --member all -o jsonl";

/// Of diff.
pub const DIFF: &str = "\
Examples:
  etcd-probe diff
  etcd-probe diff --all-keys --limit 10
  etcd-probe diff --rev 100 -o json";

/// Of lease, and of what can be done with leases.
pub const LEASE: &str = "\
Examples:
  etcd-probe lease grant 60 --id 1f
  etcd-probe put k v --lease 1f
  etcd-probe lease keep-alive 1f --count 2 --every 10s
  etcd-probe lease time-to-live 1f --keys --member all
  etcd-probe lease list
  etcd-probe lease revoke 1f";

/// Of members.
pub const MEMBERS: &str = "\
Examples:
  etcd-probe members
  etcd-probe members --serializable --member all";

/// Of alarm.
pub const ALARM: &str = "\
Examples:
  etcd-probe alarm list --member all
  etcd-probe alarm raise nospace --id 8e9e05c52164694d
  etcd-probe alarm disarm";

/// Of capabilities.
pub const CAPABILITIES: &str = "\
Examples:
  etcd-probe capabilities > server.toml
  etcd-probe capabilities --member 1 -o json

It writes a few keys below capabilities/, and deletes them; the member is defragmented.";

/// Of defragment.
pub const DEFRAGMENT: &str = "\
Examples:
  etcd-probe defragment --member 1
  etcd-probe defragment --member all";

/// Of snapshot.
pub const SNAPSHOT: &str = "\
Examples:
  etcd-probe snapshot backup.db
  etcd-probe snapshot backup.db --member 2 -o json";

/// Of move-leader.
pub const MOVE_LEADER: &str = "\
Examples:
  etcd-probe move-leader 127.0.0.1:22379
  etcd-probe move-leader 592ea32a4bffb929";

/// Of completions.
pub const COMPLETIONS: &str = "\
Examples:
  etcd-probe completions bash > /etc/bash_completion.d/etcd-probe
  etcd-probe completions zsh > ~/.zfunc/_etcd-probe
  etcd-probe completions fish > ~/.config/fish/completions/etcd-probe.fish";
