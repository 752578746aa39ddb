//! What recording costs a driver: `recording on|off|both REQUESTS`, with `ETCDCTL_ENDPOINTS` and
//! `ETCD_ANTITHESIS_HISTORY`, puts so many keys and gets them again, one after the other, through the members in turn,
//! recorded or not. With `both` it alternates, and says how long either took. It is no part of what is shipped.

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use etcd_antithesis::{
    client::Client,
    operation::{KeyRange, Put, Range, Request},
    recorder::Recorder,
    settings::{self, Settings},
    types::ProcessId,
};

/// Requests in a row before `both` changes sides.
const BLOCK: usize = 50;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [sides @ ("on" | "off" | "both"), requests] = words.as_slice() else {
        eprintln!("usage: recording on|off|both REQUESTS");
        return ExitCode::from(2);
    };
    let requests: usize = requests.parse().expect("REQUESTS is a number");
    let settings = Settings::from_environment().expect("ETCDCTL_ENDPOINTS names the members");
    let clients = Client::of_each(&settings).expect("the members can be named");
    let folder = settings::history_folder().expect("ETCD_ANTITHESIS_HISTORY names a folder");
    let recorder = Recorder::create(&folder, "recording").expect("the history can be written");
    let mut took = [Duration::ZERO; 2];
    for number in 0..2 * requests {
        let is_on = match *sides {
            "both" => (number / BLOCK).is_multiple_of(2),
            side => side == "on",
        };
        let (client, request) = (&clients[number % clients.len()], request(number, requests));
        let start = Instant::now();
        let outcome = if is_on {
            recorder.perform(ProcessId(1), client, &request).await.expect("the history can be written").0
        } else {
            client.perform(&request).await.0
        };
        took[usize::from(is_on)] += start.elapsed();
        assert!(outcome.response().is_some(), "{outcome:?}");
    }
    println!("recorded: {:?}, not recorded: {:?}", took[1], took[0]);
    ExitCode::SUCCESS
}

/// Puts first, then gets of the same keys; of the size that `parallel_driver_generate_traffic` has.
fn request(number: usize, requests: usize) -> Request {
    let key = format!("recording/{:012}", number % requests);
    if number < requests {
        let value = format!("{number}/{}/", "x".repeat(16));
        Request::Put(Put { key: key.as_str().into(), value: value.into(), ..Put::default() })
    } else {
        Request::Range(Range { keys: KeyRange::single(key.as_str().into()), ..Range::default() })
    }
}
