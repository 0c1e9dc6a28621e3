//! Each message is decoded as it was encoded, and each request gets its own answer.

use std::os::fd::OwnedFd;

use super::{FromInit, ToInit, decode, encode, pair};
use crate::error::Report;

#[test]
fn what_is_said_is_heard() {
    let report = Report {
        text: "mounts[0]: mount_setattr(): permission denied".into(),
        code: "internal".into(),
        cause: "locked-flags".into(),
        key: "/mounts/0".into(),
        call: "mount_setattr(\"/data\")".into(),
        path: "/data".into(),
        errno: 13,
    };
    let messages = [
        FromInit::Forked(77),
        FromInit::MountSource(3, None),
        FromInit::Devices,
        FromInit::Built,
        FromInit::Limits,
        FromInit::Ready,
        FromInit::Failed(report),
        FromInit::End,
    ];
    for message in messages {
        let heard = decode(&encode(&message), None).expect("a message");
        assert_eq!(format!("{heard:?}"), format!("{message:?}"));
    }
    decode(b"?", None).expect_err("none of ours");
    decode(&[super::FORKED, 255, 255, 255, 255, 255, 255, 255, 255], None).expect_err("not a pid");
    decode(&[super::TERMINAL], None).expect_err("no terminal");
    decode(&[super::LISTENER], None).expect_err("no descriptor");
}

#[test]
fn each_question_has_its_answer() {
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").expect("a file"));
    let (runtime, init) = pair().expect("a wire");
    let say = |message: &ToInit| runtime.send(message).expect("it is heard");
    say(&ToInit::Begin);
    init.wait_for_begin().expect("Begin");
    say(&ToInit::MountSource(file()));
    init.request_mount_source(0, None).expect("a source");
    say(&ToInit::Devices(Some(file())));
    assert!(init.request_devices().expect("nodes").is_some());
    say(&ToInit::Devices(None));
    assert!(init.request_devices().expect("no nodes").is_none());
    say(&ToInit::Continue);
    init.wait_for_continue().expect("Continue");
    say(&ToInit::LimitsSet);
    init.request_limits().expect("LimitsSet");
    say(&ToInit::ListenerDelivered);
    init.send_listener(file()).expect("ListenerDelivered");
    say(&ToInit::Saved);
    init.report_ready().expect("Saved");
    say(&ToInit::Start);
    assert!(init.wait_for_start().expect("Start"));
    drop(runtime);
    assert!(!init.wait_for_start().expect("the end"));
    init.wait_for_end().expect("the end");
}

#[test]
fn another_answer_is_an_error_that_names_both() {
    let (runtime, init) = pair().expect("a wire");
    for message in [ToInit::Saved, ToInit::Start, ToInit::Devices(None)] {
        runtime.send(&message).expect("it is heard");
        let error = init.wait_for_begin().expect_err("not Begin").to_string();
        assert_eq!(error, format!("the runtime sent {message:?} instead of Begin"));
    }
}
