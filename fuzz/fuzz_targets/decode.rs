//! Any bytes, read as messages, streams of messages and captured connections: nothing panics, and all comes to an end.
#![no_main]

use etcd_antithesis::probe::decode::in_every_way;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    in_every_way(input);
});
