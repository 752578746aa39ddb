//! What the proxy does not understand passes as it comes: other services, unknown methods, metadata, trailers, statuses
//! without an answer, compressed messages, and what is no gRPC but HTTP/2.

use bytes::Bytes;
use tonic::codegen::http::{HeaderMap, Method, Request, Response};

use crate::{
    common::{healthy_cluster, http2::message, temporary_folder},
    place::Proxy,
    raw::{Answered, ask, grpc, range, serve},
};

/// Ways in which calls pass.
fn ways(record: &str) -> [Vec<&str>; 4] {
    let records = vec!["--quiet", "--record", record];
    let rules = [&records[..], &["--rule", "on * every 1000 { delay 1ms }"]].concat();
    [vec!["--quiet"], vec![], records, rules]
}

/// Answers with what it was asked: the method, the head's fields that begin with `x-`, the body, and trailers.
async fn echoed(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let (head, mut stream) = request.into_parts();
    let mut body = vec![];
    while let Some(piece) = stream.data().await {
        let piece = piece.unwrap();
        stream.flow_control().release_capacity(piece.len()).unwrap();
        body.extend_from_slice(&piece);
    }
    let mut response = Response::builder().header("x-method", head.method.as_str());
    for (name, value) in &head.headers {
        if name.as_str().starts_with("x-") || name == "grpc-encoding" || name == "content-type" {
            response = response.header(name, value);
        }
    }
    let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
    stream.send_data(body.into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("x-last-bin", "AAEC/w==".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

/// What it was answered, without what depends on the time.
fn answered(endpoint: &str, request: Request<()>, body: Bytes) -> Result<Answered, String> {
    let mut answered = ask(endpoint, request, body).map_err(|error| error.to_string())?;
    answered.head.remove("date");
    Ok(answered)
}

/// Heads, bodies and trailers are those that the other side sent, in both directions.
#[test]
fn metadata_trailers_and_other_bytes_pass() {
    let member = serve(echoed);
    let folder = temporary_folder();
    let request = |method: Method, path: &str| {
        let mut request = grpc(path);
        *request.method_mut() = method;
        let head = request.headers_mut();
        head.insert("x-text", "words".parse().unwrap());
        head.append("x-text", "more words".parse().unwrap());
        head.insert("x-key-bin", "AAEC/w==".parse().unwrap());
        head.insert("x-long", "l".repeat(5000).parse().unwrap());
        request
    };
    let compressed = || {
        let mut request = request(Method::POST, "/etcdserverpb.KV/Put");
        request.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
        request
    };
    let page = || {
        let mut request = request(Method::POST, "/some/page?and=more");
        request.headers_mut().insert("content-type", "text/html".parse().unwrap());
        request
    };
    for way in ways(folder.path().to_str().unwrap()) {
        let proxy = Proxy::start(&member, &way);
        for (what, request, body) in [
            ("another service", request(Method::POST, "/some.other.Service/Method"), message(b"abc")),
            ("several messages", request(Method::POST, "/x.Y/Z"), message(b"abc").repeat(3)),
            ("a compressed message", compressed(), [&[1, 0, 0, 0, 3][..], b"abc"].concat()),
            ("half a frame", request(Method::POST, "/etcdserverpb.KV/Put"), vec![0, 0, 0]),
            ("a message that is none", request(Method::POST, "/etcdserverpb.KV/Put"), message(&[0xff; 30])),
            ("no body", request(Method::POST, "/etcdserverpb.KV/Put"), vec![]),
            ("no gRPC", page(), b"<html>".to_vec()),
            ("another method of HTTP", request(Method::PUT, "/"), b"abc".to_vec()),
        ] {
            let copy = Request::builder().method(request.method()).uri(request.uri());
            let mut copy = copy.body(()).unwrap();
            *copy.headers_mut() = request.headers().clone();
            let direct = answered(&member, request, body.clone().into()).unwrap();
            let (x, last) = (direct.head.get_all("x-text").iter().count(), direct.trailers.as_ref().unwrap());
            assert!(x == 2 && last.contains_key("x-last-bin") && direct.body == body, "{direct:?}");
            assert_eq!(answered(&proxy.endpoints, copy, body.into()), Ok(direct), "{what} by {way:?}");
        }
    }
}

/// A real member answers through the proxy as it does without.
#[test]
fn a_member_answers_what_it_would_without_the_proxy() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    for way in ways(folder.path().to_str().unwrap()) {
        let proxy = Proxy::start(&cluster.endpoints(), &way);
        let same = |what: &str, request: &dyn Fn() -> Request<()>, body: &[u8]| {
            let body = Bytes::from(body.to_vec());
            let direct = answered(&cluster.endpoints(), request(), body.clone());
            assert_eq!(answered(&proxy.endpoints, request(), body), direct, "{what} by {way:?}");
            direct
        };
        let health = same("health", &|| grpc("/grpc.health.v1.Health/Check"), &message(b"")).unwrap();
        assert_eq!((health.grpc_status().as_str(), &health.body[..]), ("0 ", &message(&[8, 1])[..]));
        let unknown = same("unknown", &|| grpc("/etcdserverpb.KV/Nothing"), &message(b"")).unwrap();
        assert!(unknown.grpc_status().starts_with("12 unknown method Nothing"), "{unknown:?}");
        let other = same("another service", &|| grpc("/no.Such/Service"), &message(b"abc")).unwrap();
        assert!(other.grpc_status().starts_with("12 "), "{other:?}");
        // An error without an answer: the head has the status.
        let refused = same("no key", &|| grpc("/etcdserverpb.KV/Put"), &message(b"")).unwrap();
        assert!(refused.trailers.is_none() && refused.grpc_status().contains("key is not provided"));
        let compressed = || {
            let mut request = grpc("/etcdserverpb.KV/Range");
            request.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
            request
        };
        let compressed = same("compressed", &compressed, &[&[1, 0, 0, 0, 3][..], b"abc"].concat()).unwrap();
        eprintln!("compressed: {}", compressed.grpc_status());
        assert_ne!(compressed.grpc_status(), "0 ");
        let alone = || {
            let mut request = grpc("/etcdserverpb.KV/Range");
            request.headers_mut().insert("hasleader", "true".parse().unwrap());
            request.headers_mut().insert("grpc-timeout", "5S".parse().unwrap());
            request
        };
        assert_eq!(same("metadata", &alone, &range()).unwrap().grpc_status(), "0 ");
        let get = || Request::get("http://member/health").body(()).unwrap();
        let page = same("a page over HTTP/2", &get, b"");
        eprintln!("a page over HTTP/2: {page:?}");
    }
}
