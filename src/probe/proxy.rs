//! `etcd-probe proxy`: between clients and members, one listening port for each member, so that an answer always
//! belongs to a known one. In go arguments and settings, out come lines for the calls that pass, until a signal ends
//! it. Whatever it does not know passes as it comes.

pub mod arguments;
mod brief;
mod connection;
mod exchange;
mod follow;
mod greeting;
pub mod lies;
mod lines;
mod messages;
pub mod methods;
mod pump;
mod record;
pub mod show;
mod verbatim;
mod watched;

use std::{fs, future::pending, io::Write as _, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, lookup_host},
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use self::{
    arguments::ProxyArguments,
    connection::HANDSHAKE_WITHIN,
    greeting::Speaks,
    lies::{Lies, parse::parse},
    lines::Lines,
    messages::Held,
    record::Recording,
    show::{Form, Show},
};
use super::{call::Call, error::ProbeError, wire::Frame};
use crate::{
    client::{
        Client,
        channel::{Channel, Line},
        tap::Tape,
        tls::{self, HTTP1},
    },
    exit::ExitStatus,
    health::on_each,
    proto::etcdserverpb::StatusRequest,
    report::totals::counted,
    settings::Settings,
};

/// Each member's port serves so many connections; more wait.
const CONNECTIONS_AT_MOST: usize = 1000;

/// What all connections share.
struct Shared {
    show: Option<Arc<Show>>,
    recording: Option<Arc<Recording>>,
    lies: Option<Arc<Lies>>,
    held: Held,
}

/// Something that is no call, for people.
fn tell(words: &str) {
    // Calls pass even if nobody reads it.
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Serves until a signal ends it.
pub async fn run(
    arguments: &ProxyArguments,
    settings: &Settings,
    form: Form,
) -> Result<ExitStatus, ProbeError> {
    let tls = match (&arguments.serve_cert, &arguments.serve_key) {
        (Some(certificate), Some(key)) => Some(tls::server_config(certificate, key)?),
        _ => None,
    };
    let recording = arguments.record.as_deref().map(Recording::create).transpose()?.map(Arc::new);
    let show = show(arguments, form)?;
    let lies = lies(arguments, settings)?;
    if let Some(lies) = lies.as_ref().filter(|lies| lies.makes_up()) {
        meet(lies, settings).await?;
    }
    let listeners = listen(arguments, settings).await?;
    let shared = Arc::new(Shared { show, recording, lies, held: Held::default() });
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut ports = JoinSet::new();
    let mut endpoints = vec![];
    for ((address, listener), endpoint) in listeners.into_iter().zip(&settings.endpoints) {
        tell(&format!("{}: {scheme}://{address} leads to {}", endpoint.name, endpoint.uri));
        endpoints.push(format!("{scheme}://{address}"));
        let member = Arc::new(Channel::new(endpoint, settings)?);
        ports.spawn(serve(listener, member, tls.clone(), Arc::clone(&shared)));
    }
    tell(&format!("ETCDCTL_ENDPOINTS={}", endpoints.join(",")));
    let failed = async {
        match &shared.recording {
            Some(recording) => Err(ProbeError::from(recording.failed().await)),
            None => pending().await,
        }
    };
    tokio::select! { ended = until_ended() => ended, failed = failed => failed }?;
    ports.shutdown().await;
    for (rule, counts) in shared.lies.iter().flat_map(|lies| lies.counts()) {
        tell(&format!("rule {rule} struck on {} of {}", counts.struck, counted(counts.seen, "occasion")));
    }
    if let Some(left_out) = shared.show.as_ref().map(|show| show.lines.left_out()).filter(|lines| *lines > 0)
    {
        let left_out = counted(left_out, "line");
        tell(&format!("left out, since they were not read fast enough: {left_out}"));
    }
    Ok(ExitStatus::Holds)
}

/// The rules of the files and of the command line, in this order.
fn lies(arguments: &ProxyArguments, settings: &Settings) -> Result<Option<Arc<Lies>>, ProbeError> {
    let mut rules = vec![];
    for path in &arguments.rules {
        let text =
            fs::read_to_string(path).map_err(|source| ProbeError::Read { path: path.clone(), source })?;
        let from = path.display().to_string();
        rules.extend(parse(&text, rules.len()).map_err(|place| ProbeError::Rules { from, place })?);
    }
    for text in &arguments.rule {
        let from = "--rule".to_owned();
        rules.extend(parse(text, rules.len()).map_err(|place| ProbeError::Rules { from, place })?);
    }
    if rules.is_empty() {
        return Ok(None);
    }
    for name in rules.iter().flat_map(|rule| rule.members.iter().flatten()) {
        if !settings.endpoints.iter().any(|endpoint| endpoint.name == *name) {
            let known: Vec<&str> = settings.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
            return Err(ProbeError::NoSuchMember { name: name.clone(), known: known.join(", ") });
        }
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    tell(&format!("{}, --seed {seed}", counted(rules.len(), "rule")));
    Ok(Some(Lies::new(rules, seed)))
}

/// Asks each member for its state, so that the first answer can be made up as well; who does not tell it is met later.
async fn meet(lies: &Lies, settings: &Settings) -> Result<(), ProbeError> {
    let clients = Client::of_each(settings)?;
    let answers = on_each(&clients, |client| async move {
        Call::new("/etcdserverpb.Maintenance/Status", &StatusRequest {}).send(&client, &Tape::default()).await
    });
    for (client, answer) in clients.iter().zip(answers.await) {
        if let Ok(answer) = answer {
            lies.meet(&client.endpoint().name, &Frame { flag: 0, message: answer.bytes });
        }
    }
    Ok(())
}

async fn until_ended() -> Result<(), ProbeError> {
    let mut terminated = signal(SignalKind::terminate()).map_err(ProbeError::Runtime)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(ProbeError::Runtime)?;
    tokio::select! { _ = terminated.recv() => {}, _ = interrupted.recv() => {} }
    Ok(())
}

fn show(arguments: &ProxyArguments, form: Form) -> Result<Option<Arc<Show>>, ProbeError> {
    if arguments.quiet {
        return Ok(None);
    }
    let filter = arguments.filter(form.encoding)?;
    Ok(Some(Arc::new(Show { filter, form, lines: Lines::start() })))
}

/// A listener for each member.
async fn listen(
    arguments: &ProxyArguments,
    settings: &Settings,
) -> Result<Vec<(SocketAddr, TcpListener)>, ProbeError> {
    let members = settings.endpoints.len();
    let failed = |place: &str| {
        let place = place.to_owned();
        move |source| ProbeError::Listen { place, source }
    };
    let mut listeners = vec![];
    for member in 0..members {
        let (place, after) = match arguments.listen.as_slice() {
            [first] => (first, u16::try_from(member).unwrap_or(u16::MAX)),
            places if places.len() == members => (&places[member], 0),
            places => return Err(ProbeError::Listeners { places: places.len(), members }),
        };
        let mut addresses = lookup_host(place.as_str()).await.map_err(failed(place))?;
        let mut address =
            addresses.next().ok_or_else(|| failed(place)(std::io::ErrorKind::NotFound.into()))?;
        if address.port() != 0 {
            address.set_port(address.port().saturating_add(after));
        }
        let listener = TcpListener::bind(address).await.map_err(failed(&address.to_string()))?;
        let address = listener.local_addr().map_err(failed(place))?;
        listeners.push((address, listener));
    }
    Ok(listeners)
}

/// Takes connections for one member.
async fn serve(
    listener: TcpListener,
    member: Arc<Channel>,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_AT_MOST));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, client)) => {
                let connection =
                    connect(stream, client, Arc::clone(&member), tls.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // Out of descriptors, or the client is gone already: the next one may have more luck.
            Err(error) => {
                tell(&format!("can't take a connection: {error}"));
                tokio::time::sleep(connection::AFTER_REFUSAL).await;
            }
        }
    }
}

async fn connect(
    stream: TcpStream,
    client: SocketAddr,
    member: Arc<Channel>,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
) {
    // A failure to set it costs latency alone.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return match timeout(HANDSHAKE_WITHIN, greeting::speaks(&stream)).await {
            Ok(Ok(Speaks::Http2)) => connection::serve(Line::Plain(stream), client, member, shared).await,
            Ok(Ok(Speaks::Http1)) => refuse_http1(stream, client, &member).await,
            Ok(Ok(Speaks::Tls)) => tell(&format!("{client}: TLS, which needs --serve-cert and --serve-key")),
            // It came and went.
            Ok(Err(_)) => {}
            Err(_) => tell(&format!("{client}: not a word within {HANDSHAKE_WITHIN:?}")),
        };
    };
    match timeout(HANDSHAKE_WITHIN, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(HTTP1) => {
            refuse_http1(stream, client, &member).await;
        }
        Ok(Ok(stream)) => {
            connection::serve(Line::Secured(Box::new(stream)), client, member, shared).await;
        }
        Ok(Err(error)) => tell(&format!("{client}: no TLS: {error}")),
        Err(_) => tell(&format!("{client}: no TLS within {HANDSHAKE_WITHIN:?}")),
    }
}

async fn refuse_http1(stream: impl AsyncRead + AsyncWrite + Unpin, client: SocketAddr, member: &Channel) {
    tell(&format!("{client}: HTTP/1, which is refused"));
    greeting::refuse_http1(stream, &member.endpoint().uri).await;
}
