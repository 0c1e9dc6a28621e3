//! A small HTTP server in front of a registry, or alone. It forwards requests, answers itself, or
//! breaks answers as bad connections do. It is also a proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    /// The path and the query; for a proxy a whole URL, or host and port.
    pub target: String,
    /// The names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How many requests there were before.
    pub number: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `GET /v2/`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// Without the body, which may be a layer.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {} B", self.line(), self.headers, self.body.len())
    }
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Forward the request, and the answer back.
    Pass,
    /// Answer: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Forward the request. Of the body of the answer this many bytes come back, then the
    /// connection is closed.
    Cut(usize),
    /// Forward the request. Of the body of the answer this many bytes come back, then nothing.
    Stall(usize),
    /// Close the connection at once.
    Hang,
    /// Never answer.
    Mute,
}

/// `deed` for the first `times` requests that match `which`.
pub fn the_first(
    times: usize,
    which: impl Fn(&Request) -> bool + Send + Sync + 'static,
    deed: Deed,
) -> impl Fn(&Request) -> Deed + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |request| {
        let is_one = which(request) && seen.fetch_add(1, Ordering::Relaxed) < times;
        if is_one { deed.clone() } else { Deed::Pass }
    }
}

pub fn status(code: u16) -> Deed {
    Deed::Answer(code, Vec::new(), Vec::new())
}

/// The server. It ends when the value is dropped.
#[derive(Debug)]
pub struct Front {
    port: u16,
    log: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

impl Front {
    /// In front of `upstream`, a host and a port.
    pub fn before(
        upstream: &str,
        decide: impl Fn(&Request) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(upstream.to_owned()), decide)
    }

    /// Alone. Forwarded requests go to the server that they name, as with a proxy.
    pub fn alone(decide: impl Fn(&Request) -> Deed + Send + Sync + 'static) -> Self {
        Self::start(None, decide)
    }

    fn start(
        upstream: Option<String>,
        decide: impl Fn(&Request) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (log, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let front = Self { port, log: Arc::clone(&log), over: Arc::clone(&over) };
        let decide = Arc::new(decide);
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let (upstream, log, decide) =
                    (upstream.clone(), Arc::clone(&log), Arc::clone(&decide));
                // A client may close the connection.
                thread::spawn(move || drop(serve(client, upstream.as_deref(), &log, &*decide)));
            }
        });
        front
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `docker://…`
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host())
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    /// Those of a method and with a part in their target.
    pub fn asked(&self, method: &str, part: &str) -> Vec<Request> {
        self.log().into_iter().filter(|request| request.is(method, part)).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    mut client: TcpStream,
    upstream: Option<&str>,
    log: &Mutex<Vec<Request>>,
    decide: &dyn Fn(&Request) -> Deed,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let Some(request) = read_request(&mut reader, log)? else { return Ok(()) };
    let deed = decide(&request);
    match &deed {
        Deed::Answer(code, headers, body) => {
            return answer(&mut client, (*code, headers, body), &request);
        }
        Deed::Hang => return Ok(()),
        Deed::Mute => return wait_for_the_end(&mut reader),
        Deed::Pass | Deed::Cut(_) | Deed::Stall(_) => {}
    }
    if request.method == "CONNECT" {
        return tunnel(client, &request.target);
    }
    let (host, target) = match (upstream, request.target.strip_prefix("http://")) {
        (Some(upstream), _) => (upstream.to_owned(), request.target.clone()),
        (None, Some(rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            (host.to_owned(), format!("/{path}"))
        }
        (None, None) => return answer(&mut client, (400, &Vec::new(), &[]), &request),
    };
    let mut server = TcpStream::connect(&host)?;
    let mut head = format!("{} {target} HTTP/1.1\r\nconnection: close\r\n", request.method);
    let own = [
        "connection",
        "transfer-encoding",
        "content-length",
        "proxy-authorization",
        "proxy-connection",
    ];
    for (key, value) in request.headers.iter().filter(|(key, _)| !own.contains(&key.as_str())) {
        head += &format!("{key}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", request.body.len());
    server.write_all(head.as_bytes())?;
    server.write_all(&request.body)?;
    let mut answer = BufReader::new(server);
    let most = match deed {
        Deed::Cut(most) | Deed::Stall(most) => most as u64,
        _ => u64::MAX,
    };
    for line in head_lines(&mut answer)? {
        client.write_all(format!("{line}\r\n").as_bytes())?;
    }
    client.write_all(b"\r\n")?;
    std::io::copy(&mut answer.take(most), &mut client)?;
    if matches!(deed, Deed::Stall(_)) {
        return wait_for_the_end(&mut reader);
    }
    client.shutdown(Shutdown::Both)
}

/// Until the client closes the connection.
fn wait_for_the_end(reader: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    reader.get_ref().set_read_timeout(Some(Duration::from_secs(60)))?;
    std::io::copy(reader, &mut std::io::sink()).map(drop)
}

fn tunnel(client: TcpStream, target: &str) -> std::io::Result<()> {
    let server = TcpStream::connect(target)?;
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let there = thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    std::io::copy(&mut (&server), &mut (&client))?;
    let _ = client.shutdown(Shutdown::Write);
    let _ = there.join();
    Ok(())
}

/// Up to the empty line, which is not included.
fn head_lines(reader: &mut impl BufRead) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line.to_owned());
    }
}

fn read_request(
    reader: &mut BufReader<TcpStream>,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<Option<Request>> {
    let lines = head_lines(reader)?;
    let Some((first, rest)) = lines.split_first() else { return Ok(None) };
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = rest.iter().filter_map(|line| line.split_once(':'));
    let headers =
        headers.map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: Vec::new(),
        number: 0,
    };
    // Logged before its body has come, since a test may wait for it.
    {
        let mut log = log.lock().unwrap();
        request.number = log.len();
        log.push(request.clone());
    }
    if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            reader.take(size).read_to_end(&mut request.body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length").and_then(|text| text.parse().ok())
    {
        let _ = reader.take(length).read_to_end(&mut request.body)?;
    }
    log.lock().unwrap()[request.number].body.clone_from(&request.body);
    Ok(Some(request))
}

fn answer(
    client: &mut TcpStream,
    (code, headers, body): (u16, &Vec<(&'static str, String)>, &[u8]),
    request: &Request,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {code} x\r\nconnection: close\r\n");
    for (key, value) in headers {
        head += &format!("{key}: {value}\r\n");
    }
    if !headers.iter().any(|(key, _)| *key == "content-length") {
        head += &format!("content-length: {}\r\n", body.len());
    }
    client.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method != "HEAD" {
        client.write_all(body)?;
    }
    client.shutdown(Shutdown::Both)
}
