//! Saving a member's database: its parts go to a file beside the one that is meant, which takes that one's name once
//! all has come and the hash that etcd sends at the end fits.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Instant,
};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use serde_json::json;

use super::{Probe, answers::line, exit_status, requests::STDIN};
use crate::{
    client::Client,
    exit::ExitStatus,
    probe::{
        arguments::{Output, services::SnapshotArguments},
        encoding::to_hex,
        error::{AskError, ProbeError},
        stream::{After, Stream},
        table::milliseconds,
    },
    proto::etcdserverpb as pb,
};

/// What has come of a snapshot. The hash at its end is known as such only when nothing follows it.
struct Saved {
    file: File,
    hash: Context,
    /// The last bytes, which may be the hash.
    tail: Vec<u8>,
    bytes: u64,
    /// How many bytes there will be, by what the first part says is left of the database; the hash comes after it.
    announced: Option<u64>,
    revision: Option<i64>,
}

/// Why there is no snapshot.
enum Failure {
    Member(AskError),
    File(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::Member(error)
    }
}

impl Saved {
    fn new(file: File) -> Self {
        let hash = Context::new(&SHA256);
        Self { file, hash, tail: vec![], bytes: 0, announced: None, revision: None }
    }

    fn take(&mut self, part: &pb::SnapshotResponse) -> Result<(), Failure> {
        let length = part.blob.len() as u64;
        let announced =
            || length.saturating_add(part.remaining_bytes).saturating_add(SHA256_OUTPUT_LEN as u64);
        if self.bytes + length > *self.announced.get_or_insert_with(announced) {
            return Err(AskError::strange("the snapshot is longer than its first part said").into());
        }
        self.revision = self.revision.or(part.header.map(|header| header.revision).filter(|at| *at > 0));
        self.bytes += length;
        self.tail.extend_from_slice(&part.blob);
        let known = self.tail.len().saturating_sub(SHA256_OUTPUT_LEN);
        self.hash.update(&self.tail[..known]);
        self.tail.drain(..known);
        Ok(self.file.write_all(&part.blob)?)
    }

    /// The hash, if it fits.
    fn verify(self) -> Result<String, Failure> {
        self.file.sync_all()?;
        if self.announced.is_some_and(|announced| self.bytes < announced) {
            return Err(AskError::strange("the snapshot is shorter than its first part said").into());
        }
        let computed = self.hash.finish();
        if computed.as_ref() != self.tail {
            return Err(AskError::strange("the snapshot's hash does not fit: it is damaged").into());
        }
        Ok(to_hex(computed.as_ref()))
    }
}

impl Probe<'_> {
    pub(super) async fn snapshot(&mut self, arguments: &SnapshotArguments) -> Result<ExitStatus, ProbeError> {
        if matches!(self.output, Output::Proto | Output::Hex) {
            return Err(ProbeError::NoBytes { command: "snapshot" });
        }
        let client = self.client(arguments.member.as_deref())?;
        let path = &arguments.file;
        if path.as_os_str() == STDIN {
            return Err(ProbeError::Nothing(
                "a snapshot is checked as a whole, so it goes to a file, not to the standard output; name one",
            ));
        }
        let part = part_of(path);
        let begun = Instant::now();
        let saved = self.save(&client, &part, path).await;
        self.show_wire();
        let (bytes, revision, hash) = match saved {
            Ok(saved) => saved,
            Err(failure) => {
                // What came is of no use without the rest.
                let _ = fs::remove_file(&part);
                return match failure {
                    Failure::File(source) => Err(ProbeError::Save { path: path.clone(), source }),
                    Failure::Member(error) => {
                        self.show_error(client.endpoint(), &error);
                        Ok(exit_status(&[&error], 1))
                    }
                };
            }
        };
        let (name, took) = (&client.endpoint().name, milliseconds(begun.elapsed()));
        let shown = path.display();
        let at = revision.map_or_else(String::new, |revision| format!(" at revision {revision}"));
        self.printer.answer(match self.output {
            Output::Text => format!(
                "{name}'s database{at} is in {shown}: {bytes} bytes, SHA-256 {hash} verified, {took:.2} ms\n"
            ),
            _ => line(&json!({
                "member": name, "file": path, "bytes": bytes, "revision": revision, "sha256": hash, "took_ms": took,
            })),
        })?;
        Ok(ExitStatus::Holds)
    }

    async fn save(
        &self,
        client: &Client,
        part: &Path,
        path: &Path,
    ) -> Result<(u64, Option<i64>, String), Failure> {
        const METHOD: &str = "/etcdserverpb.Maintenance/Snapshot";
        let mut saved = Saved::new(File::create(part)?);
        let request = pb::SnapshotRequest {};
        let mut stream = Stream::open(METHOD, client, &self.tape, &request, After::Closed).await?;
        while let Some(message) = stream.next_within(client.deadline()).await? {
            saved.take(&stream.decode(&message)?)?;
        }
        let (bytes, revision) = (saved.bytes, saved.revision);
        let hash = saved.verify()?;
        fs::rename(part, path)?;
        Ok((bytes, revision, hash))
    }
}

/// The file that a snapshot grows in.
fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}
