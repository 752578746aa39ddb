//! From the words of the command line to requests. In go arguments, and files or the standard input where the
//! arguments say so; out come calls that are ready to be sent.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use crate::{
    client::wire,
    operation::{Bounds, Compact, DeleteRange, KeyRange, Put, Range},
    probe::{
        arguments::requests::{
            CompactArguments, DeleteArguments, Keys, PutArguments, RangeArguments, TxnArguments,
        },
        call::Call,
        encoding::Encoding,
        error::ProbeError,
        transaction,
    },
    types::{Blob, LeaseId, Revision},
};

/// What names the standard input where a file is meant.
pub const STDIN: &str = "-";

pub fn put(arguments: &PutArguments, encoding: Encoding) -> Result<Call, ProbeError> {
    let value = match &arguments.value {
        Some(value) => blob(value, encoding)?,
        None if arguments.ignore_value => Blob::EMPTY,
        None => Blob::from(read(Path::new(STDIN))?),
    };
    let put = Put {
        key: blob(&arguments.key, encoding)?,
        value,
        lease: LeaseId(arguments.lease.unwrap_or_default()),
        prev_kv: arguments.prev_kv,
        ignore_value: arguments.ignore_value,
        ignore_lease: arguments.ignore_lease,
    };
    Ok(Call::new("/etcdserverpb.KV/Put", &wire::put_request(&put)))
}

pub fn range(arguments: &RangeArguments, encoding: Encoding) -> Result<Call, ProbeError> {
    let bounds = Bounds {
        min_mod_revision: arguments.min_mod_rev.map(Revision),
        max_mod_revision: arguments.max_mod_rev.map(Revision),
        min_create_revision: arguments.min_create_rev.map(Revision),
        max_create_revision: arguments.max_create_rev.map(Revision),
    };
    let range = Range {
        keys: keys(&arguments.keys, encoding)?,
        limit: arguments.limit,
        revision: arguments.rev.map(Revision),
        order: arguments.order.map(Into::into).unwrap_or_default(),
        order_by: arguments.sort_by.into(),
        serializable: arguments.serializable,
        keys_only: arguments.keys_only,
        count_only: arguments.count_only,
        bounds: bounds.boxed(),
    };
    Ok(Call::new("/etcdserverpb.KV/Range", &wire::range_request(&range)))
}

pub fn delete(arguments: &DeleteArguments, encoding: Encoding) -> Result<Call, ProbeError> {
    let delete = DeleteRange { keys: keys(&arguments.keys, encoding)?, prev_kv: arguments.prev_kv };
    Ok(Call::new("/etcdserverpb.KV/DeleteRange", &wire::delete_range_request(&delete)))
}

pub fn txn(arguments: &TxnArguments, encoding: Encoding) -> Result<Call, ProbeError> {
    let text = match (&arguments.text, &arguments.file) {
        (Some(text), _) => text.clone(),
        (None, file) => {
            let path = file.as_deref().unwrap_or(Path::new(STDIN));
            String::from_utf8(read(path)?).map_err(|error| ProbeError::Read {
                path: path.to_owned(),
                source: io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()),
            })?
        }
    };
    let txn = transaction::parse(&text, encoding)?;
    Ok(Call::new("/etcdserverpb.KV/Txn", &wire::txn_request(&txn)))
}

pub fn compact(arguments: &CompactArguments) -> Call {
    let compact = Compact { revision: Revision(arguments.revision), physical: arguments.physical };
    Call::new("/etcdserverpb.KV/Compact", &wire::compaction_request(&compact))
}

pub fn keys(keys: &Keys, encoding: Encoding) -> Result<KeyRange, ProbeError> {
    let key = blob(&keys.key, encoding)?;
    if keys.prefix {
        return Ok(KeyRange::prefix(key));
    }
    if keys.from_key {
        // etcd refuses an empty key; the smallest one is a zero byte.
        let key = if key.is_empty() { Blob::from("\0") } else { key };
        return Ok(KeyRange { key, range_end: Some(Blob::from("\0")) });
    }
    let range_end = keys.end.as_deref().map(|end| blob(end, encoding)).transpose()?;
    Ok(KeyRange { key, range_end })
}

pub fn blob(typed: &OsStr, encoding: Encoding) -> Result<Blob, ProbeError> {
    Ok(encoding.decode(typed.as_bytes())?.into())
}

pub fn read(path: &Path) -> Result<Vec<u8>, ProbeError> {
    let mut bytes = vec![];
    let read = if path == Path::new(STDIN) {
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    read.map_err(|source| ProbeError::Read { path: path.to_owned(), source })
}
