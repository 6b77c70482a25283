//! Talking to servers, each within a deadline: names, TCP connections and plain HTTP.
//!
//! Nothing here is absent because a server does not answer: that is what was asked. Absent is what could not be asked
//! from here.

use super::source::{RecordedAnswer, Source, plain_io_text};
use crate::fact::{Absent, Reason};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// What was heard, or in the system's words why nothing, and after how long.
pub(super) struct Heard<T> {
    pub what: Result<T, String>,
    pub took: Duration,
}

/// An answer by HTTP.
pub(super) struct Page {
    pub status: u16,
    pub body: Vec<u8>,
    pub truncated: bool,
}

/// The longest head of an HTTP answer, in bytes.
const LONGEST_HEAD: u64 = 16 << 10;

/// What a recording says of `key`; `None` for a live machine.
fn recorded(source: &Source, key: &str) -> Result<Option<(RecordedAnswer, Duration)>, Absent> {
    source.sees_network()?;
    let Some(recorded) = source.recorded() else { return Ok(None) };
    match recorded.answers.get(key) {
        Some(answer) => {
            let took = Duration::try_from_secs_f64(answer.took_seconds).unwrap_or_default();
            Ok(Some((answer.clone(), took)))
        }
        None => Err(Absent::not_present(format!("`{key}` was not recorded"))),
    }
}

/// The addresses of a name, by whatever this machine asks for them (hosts file, DNS).
pub(super) fn resolve(source: &Source, name: &str, timeout: Duration) -> Result<Heard<Vec<IpAddr>>, Absent> {
    if !source.is_live() && source.recorded().is_none() {
        return Err(Absent::new(Reason::NotRecorded, "names are resolved as here, not as below another root"));
    }
    if let Some((answer, took)) = recorded(source, &format!("name {name}"))? {
        let addresses = answer.addresses.iter().filter_map(|address| address.parse().ok()).collect();
        return Ok(Heard { what: answer.error.map_or(Ok(addresses), Err), took });
    }
    let began = Instant::now();
    let what = addresses(name, 0, timeout).map(|found| {
        let mut addresses: Vec<IpAddr> = found.into_iter().map(|address| address.ip()).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    });
    Ok(Heard { what, took: began.elapsed() })
}

/// Asks the C library, which has no deadline of its own, on a thread that is left behind when it does not answer.
fn addresses(name: &str, port: u16, timeout: Duration) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = channel();
    let asked = (name.to_string(), port);
    let ask = move || drop(sender.send(asked.to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    thread::Builder::new().spawn(ask).map_err(|error| plain_io_text(&error))?;
    match receiver.recv_timeout(timeout) {
        Ok(Ok(found)) if found.is_empty() => Err(format!("{name} has no address")),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            Err(plain_io_text(&error).trim_start_matches("failed to lookup address information: ").into())
        }
        Err(_) => Err(format!("no answer in {} s", timeout.as_secs_f64())),
    }
}

/// Whether a server takes connections.
pub(super) fn connect(source: &Source, host: &str, port: u16, timeout: Duration) -> Result<Heard<()>, Absent> {
    if let Some((answer, took)) = recorded(source, &format!("tcp {host}:{port}"))? {
        return Ok(Heard { what: answer.error.map_or(Ok(()), Err), took });
    }
    let began = Instant::now();
    let what = stream(host, port, began + timeout).map(drop);
    Ok(Heard { what, took: began.elapsed() })
}

fn stream(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut said = String::new();
    for address in addresses(host, port, left())? {
        match TcpStream::connect_timeout(&address, left()) {
            Ok(stream) => return Ok(stream),
            Err(error) => said = words(&error),
        }
    }
    Err(said)
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".into(),
        _ => plain_io_text(error),
    }
}

/// Host, port and path of an `http://` URL.
fn parts(url: &str) -> Option<(&str, u16, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    // Spaces and line ends would make another request of it.
    if authority.contains('@') || url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    (!host.is_empty()).then_some((host, port, path))
}

/// Fetches an `http://` URL. HTTP/1.0 is asked for: every server still answers it, with a body that ends where the
/// connection does, so that nothing more of the protocol has to be known.
pub(super) fn fetch(source: &Source, url: &str, timeout: Duration, cap: u64) -> Result<Heard<Page>, Absent> {
    let wrong = || Absent::failed(format!("expected an URL such as http://host:port/path, found \"{url}\""));
    let (host, port, path) = parts(url).ok_or_else(wrong)?;
    if let Some((answer, took)) = recorded(source, url)? {
        let page = Page { status: answer.status, body: answer.body.into_bytes(), truncated: false };
        return Ok(Heard { what: answer.error.map_or(Ok(page), Err), took });
    }
    let began = Instant::now();
    let what = page(host, port, path, began + timeout, cap);
    Ok(Heard { what, took: began.elapsed() })
}

fn page(host: &str, port: u16, path: &str, deadline: Instant, cap: u64) -> Result<Page, String> {
    let mut stream = stream(host, port, deadline)?;
    let left = || deadline.saturating_duration_since(Instant::now());
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: punchlist\r\nAccept: */*\r\n\r\n");
    stream.set_write_timeout(Some(left().max(Duration::from_millis(1)))).map_err(|error| words(&error))?;
    stream.write_all(request.as_bytes()).map_err(|error| words(&error))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 8 << 10];
    // A server that sends a byte a second is bounded too: the time left shrinks.
    loop {
        let left = left();
        if left.is_zero() {
            return Err("no whole answer in time".into());
        }
        stream.set_read_timeout(Some(left)).map_err(|error| words(&error))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(words(&error)),
        }
        if answer.len() as u64 > LONGEST_HEAD + cap {
            break;
        }
    }
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or("the answer is not HTTP")?;
    let status = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = status.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.get(..3)?.parse().ok());
    let mut body = answer.split_off(end + 4);
    let truncated = body.len() as u64 > cap;
    body.truncate(cap as usize);
    Ok(Page { status: status.ok_or("the answer is not HTTP")?, body, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server for one connection, which sends `answer` and keeps the connection open for `hold`.
    fn server(answer: &'static [u8], hold: Duration) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}/healthz?x=1", listener.local_addr().unwrap().port());
        let serve = move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            let _ = stream.write_all(answer);
            thread::sleep(hold);
            String::from_utf8_lossy(&request[..count]).into_owned()
        };
        (url, thread::spawn(serve))
    }

    fn get(url: &str) -> Heard<Page> {
        fetch(&Source::live(), url, Duration::from_millis(300), 8).unwrap()
    }

    #[test]
    fn a_page_comes_with_its_status_and_a_bounded_body() {
        let (url, served) = server(b"HTTP/1.1 503 Busy\r\nX: y\r\n\r\n0123456789", Duration::ZERO);
        let page = get(&url).what.unwrap();
        assert_eq!((page.status, page.body.as_slice(), page.truncated), (503, &b"01234567"[..], true));
        assert!(served.join().unwrap().starts_with("GET /healthz?x=1 HTTP/1.0\r\n"));
    }

    #[test]
    fn a_server_that_says_nothing_or_something_else_is_told_so_in_time() {
        let (url, served) = server(b"", Duration::from_millis(600));
        let heard = get(&url);
        assert_eq!(heard.what.err().unwrap(), "no answer in time");
        assert!(heard.took < Duration::from_secs(2));
        drop(served);
        for garbage in [&b"\x00\xff\r\n\r\n"[..], b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n"] {
            let (url, _served) = server(garbage, Duration::ZERO);
            assert_eq!(get(&url).what.err().unwrap(), "the answer is not HTTP");
        }
    }

    #[test]
    fn a_port_without_a_server_refuses() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let heard = connect(&Source::live(), "127.0.0.1", port, Duration::from_secs(1)).unwrap();
        assert_eq!(heard.what.unwrap_err(), "connection refused");
    }

    #[test]
    fn only_plain_urls_are_understood() {
        assert_eq!(parts("http://localhost:10248/healthz"), Some(("localhost", 10248, "/healthz")));
        assert_eq!(parts("http://[::1]:80"), Some(("[::1]", 80, "/")));
        assert_eq!(parts("http://[::1]"), Some(("[::1]", 80, "/")));
        for url in ["https://x/", "http://", "http://u:p@x/", "http://x/a b", "http://x/\r\nY: z", "http://x:99999/"] {
            assert_eq!(parts(url), None, "{url}");
        }
    }

    #[test]
    fn names_are_resolved_and_addresses_are_their_own() {
        let heard = resolve(&Source::live(), "127.0.0.1", Duration::from_secs(1)).unwrap();
        assert_eq!(heard.what.unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
