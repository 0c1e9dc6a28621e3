//! Bad input: containerd's codes, a text that says what and why, and nothing left.

use std::io::{Read, Write};

use containerd_shim_protos::api::{CreateTaskRequest, PauseRequest};
use orlop_shim::frame::{self, Frame, Incoming};
use protobuf::Message;

use super::support::{SHIM, Shim, context, failure, with_input};

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const ALREADY_EXISTS: i32 = 6;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const UNIMPLEMENTED: i32 = 12;

#[test]
fn a_command_line_that_is_wrong_is_refused() {
    for (words, told) in [
        (&["-moon", "start"][..], "flag provided but not defined: -moon"),
        (&["-id"], "flag needs an argument: -id"),
        (&["start"], "the namespace is missing"),
        (&["-namespace", "n", "start"], "the id is missing"),
        (&["-namespace", "n", "-id", "x", "fly"], "there is no action \"fly\""),
        (&["-namespace", "n", "-id", "x"], "the action is missing"),
    ] {
        let output = with_input(std::process::Command::new(SHIM).args(words), b"");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(told), "{words:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_bundle_without_a_config_starts_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut command = std::process::Command::new(SHIM);
    command
        .args(["-namespace", "n", "-id", "x", "-address", "/nowhere", "start"])
        .current_dir(dir.path());
    let output = with_input(&mut command, b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("config.json"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn options(type_url: &str, value: Vec<u8>) -> protobuf::well_known_types::any::Any {
    let mut any = protobuf::well_known_types::any::Any::new();
    (any.type_url, any.value) = (type_url.to_owned(), value);
    any
}

#[test]
fn options_that_are_wrong_are_refused() {
    let shim = Shim::with(&["true"]);
    let client = shim.client();
    let toml = |text: &str| [&[0x1a, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let runc = containerd_shim_protos::shim::oci::Options {
        binary_name: "crun".to_owned(),
        ..Default::default()
    };
    for (options, told) in [
        (options("moon.v1.Options", Vec::new()), "unknown type, \"moon.v1.Options\""),
        (options("containerd.runc.v1.Options", vec![0xff]), "containerd.runc.v1.Options"),
        (options("runtimeoptions.v1.Options", toml("Root = ")), "line 1"),
        (
            options("containerd.runc.v1.Options", runc.write_to_bytes().unwrap()),
            "BinaryName is \"crun\"",
        ),
    ] {
        let request = CreateTaskRequest { options: Some(options).into(), ..shim.create_request() };
        let (code, text) = failure(client.create(context(), &request));
        assert_eq!(code, INVALID_ARGUMENT, "{text}");
        assert!(text.contains(told), "{text}");
    }
    shim.assert_nothing_left();
    shim.shut_down(&client);
}

#[test]
fn requests_about_what_is_not_there_are_refused() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    assert_eq!(failure(shim.status(&client, "")).0, NOT_FOUND);
    assert_eq!(failure(shim.start(&client, "")).0, NOT_FOUND);
    let missing = CreateTaskRequest { bundle: "/no/such".to_owned(), ..shim.create_request() };
    let (code, text) = failure(client.create(context(), &missing));
    assert_eq!(code, NOT_FOUND);
    assert!(text.contains("/no/such/config.json"), "{text}");
    let fifo = CreateTaskRequest { stdout: "/no/such/fifo".to_owned(), ..shim.create_request() };
    let (code, text) = failure(client.create(context(), &fifo));
    assert_eq!(code, INVALID_ARGUMENT);
    assert!(text.contains("/no/such/fifo"), "{text}");
    let scheme = CreateTaskRequest { stdout: "moon://x".to_owned(), ..shim.create_request() };
    assert_eq!(failure(client.create(context(), &scheme)).1, "unknown STDIO scheme moon");
    shim.assert_nothing_left();
    shim.create_and_start(&client);
    assert_eq!(failure(shim.start(&client, "e")).0, NOT_FOUND);
    assert_eq!(failure(shim.kill(&client, "e", 9)).0, NOT_FOUND);
    assert_eq!(failure(shim.kill(&client, "", 99)).0, INVALID_ARGUMENT);
    shim.finish(&client);
}

#[test]
fn verbs_in_the_wrong_state_are_refused() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    client.create(context(), &shim.create_request()).unwrap();
    assert_eq!(failure(client.create(context(), &shim.create_request())).0, ALREADY_EXISTS);
    let pause = PauseRequest { id: shim.id.clone(), ..Default::default() };
    assert_eq!(failure(client.pause(context(), &pause)).0, FAILED_PRECONDITION);
    shim.exec(&client, "e", &["sleep", "1000"]).unwrap();
    assert_eq!(failure(shim.exec(&client, "e", &["true"])).0, ALREADY_EXISTS);
    assert_eq!(failure(shim.kill(&client, "e", 9)).0, FAILED_PRECONDITION);
    shim.start(&client, "").unwrap();
    assert_eq!(failure(shim.start(&client, "")).0, FAILED_PRECONDITION);
    let running = (FAILED_PRECONDITION, "cannot delete a running process".to_owned());
    assert_eq!(failure(shim.delete(&client, "")), running);
    shim.start(&client, "e").unwrap();
    assert_eq!(failure(shim.delete(&client, "e")), running);
    shim.kill(&client, "", 9).unwrap();
    shim.wait(&client, "");
    let finished = (NOT_FOUND, "process already finished".to_owned());
    assert_eq!(failure(shim.kill(&client, "", 9)), finished);
    assert_eq!(failure(shim.kill(&client, "e", 9)), finished);
    assert_eq!(failure(shim.exec(&client, "f", &["true"])).0, FAILED_PRECONDITION);
    assert_eq!(failure(shim.start(&client, "")).0, FAILED_PRECONDITION);
    shim.finish(&client);
}

/// Sends a frame and reads the answer's status.
fn ask(stream: &mut std::os::unix::net::UnixStream, number: u32, bytes: &[u8]) -> (i32, String) {
    stream.write_all(bytes).unwrap();
    let mut incoming = Incoming::default();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "the connection has been closed");
        incoming.push(&buffer[..length]);
        if let Some(Frame::Message { stream, kind, body }) = incoming.next_frame() {
            assert_eq!((stream, kind), (number, frame::RESPONSE));
            let response = ttrpc::proto::Response::parse_from_bytes(&body).unwrap();
            return (response.status.code.value(), response.status.message.clone());
        }
    }
}

fn request(number: u32, service: &str, method: &str, payload: &[u8]) -> Vec<u8> {
    let request = ttrpc::proto::Request {
        service: service.to_owned(),
        method: method.to_owned(),
        payload: payload.to_vec(),
        ..Default::default()
    };
    let mut bytes = Vec::new();
    frame::put(&mut bytes, number, frame::REQUEST, &request.write_to_bytes().unwrap());
    bytes
}

#[test]
fn frames_that_are_wrong_harm_nobody() {
    let shim = Shim::with(&["true"]);
    let mut stream = shim.bytes();
    let task = "containerd.task.v2.Task";
    // A method, a service and a message that nobody knows.
    assert_eq!(
        ask(&mut stream, 1, &request(1, task, "Fly", b"")),
        (UNIMPLEMENTED, "method Fly".to_owned())
    );
    assert_eq!(
        ask(&mut stream, 3, &request(3, "moon", "Fly", b"")),
        (UNIMPLEMENTED, "service moon".to_owned())
    );
    assert_eq!(ask(&mut stream, 5, &request(5, task, "State", &[0xff])).0, INVALID_ARGUMENT);
    let mut broken = Vec::new();
    frame::put(&mut broken, 7, frame::REQUEST, &[0xff, 0xff]);
    assert_eq!(ask(&mut stream, 7, &broken).0, INVALID_ARGUMENT);
    // A stream with an even number, which is a server's.
    assert_eq!(ask(&mut stream, 2, &request(2, task, "State", b"")).0, INVALID_ARGUMENT);
    // Five MiB: refused without being kept, and the next request is served.
    let mut long = Vec::new();
    frame::put(&mut long, 9, frame::REQUEST, &vec![0; 5 << 20]);
    let (code, text) = ask(&mut stream, 9, &long);
    assert_eq!(code, RESOURCE_EXHAUSTED);
    assert!(text.contains("exceeds maximum message size"), "{text}");
    assert_eq!(
        ask(&mut stream, 11, &request(11, "containerd.task.v3.Task", "State", b"")).0,
        NOT_FOUND
    );
    // A message that is cut short, and a connection that ends with it.
    let whole = request(13, task, "State", b"");
    stream.write_all(&whole[..whole.len() - 3]).unwrap();
    drop(stream);
    assert_eq!(failure(shim.status(&shim.client(), "")).0, NOT_FOUND);
    shim.shut_down(&shim.client());
}
