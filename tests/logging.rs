//! `--log`, `--log-format`, `--debug`

use crate::support::{Bundle, Value, json, userland};

/// `2026-08-01T10:00:00Z`, with any fraction, and `Z` or `+HH:MM` at the end.
pub fn is_rfc3339(text: &str) -> bool {
    let digits: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = digits.strip_prefix("0000-00-00T00:00:00") else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches('0'),
        None => rest,
    };
    matches!(zone, "Z" | "+00:00" | "-00:00")
}

fn lines(bundle: &Bundle) -> Vec<Value> {
    let log = bundle.read("log");
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn to_json_file() -> Bundle {
    Bundle::busybox().global(["--log", "log", "--log-format", "json"])
}

#[test]
fn errors_are_json_lines_in_the_log_file() {
    let bundle = to_json_file();
    bundle.verb("state").refused();
    let lines = lines(&bundle);
    let error = lines.last().unwrap();
    assert_eq!(error["level"], "error");
    assert!(error["msg"].as_str().unwrap().contains("container does not exist"), "{error}");
    assert!(is_rfc3339(error["time"].as_str().unwrap()), "{error}");
}

#[test]
fn the_same_error_is_on_stderr() {
    let bundle = to_json_file().args(["nosuch"]);
    let out = bundle.try_create().refused();
    let lines = lines(&bundle);
    let message = lines.last().unwrap()["msg"].as_str().unwrap();
    assert!(out.stderr.contains(message), "{message:?} in {out:?}");
}

#[test]
fn the_log_file_is_appended_to() {
    let bundle = to_json_file();
    std::fs::write(bundle.scratch("log"), "{\"level\":\"info\",\"msg\":\"mine\"}\n").unwrap();
    bundle.verb("state").refused();
    bundle.verb("start").refused();
    let lines = lines(&bundle);
    assert_eq!(lines[0]["msg"], "mine");
    assert_eq!(lines.iter().filter(|line| line["level"] == "error").count(), 2);
}

#[test]
fn success_logs_no_error() {
    let mut bundle = to_json_file();
    bundle.run(["true"]).silent();
    assert!(lines(&bundle).iter().all(|line| line["level"] != "error"));
}

#[test]
fn debug_goes_to_the_log_file() {
    let mut bundle = to_json_file().global(["--debug"]);
    bundle.run(["true"]).silent();
    let lines = lines(&bundle);
    assert!(lines.iter().any(|line| line["level"] == "debug"), "{lines:?}");
    assert!(lines.iter().all(|line| is_rfc3339(line["time"].as_str().unwrap())), "{lines:?}");
}

#[test]
fn the_text_format_is_the_default() {
    for flags in [&["--log", "log"][..], &["--log", "log", "--log-format", "text"]] {
        let bundle = Bundle::busybox().global(flags.iter().copied());
        bundle.verb("state").refused().says("container does not exist");
        let log = bundle.read("log");
        assert!(log.contains("level=error") && log.contains("container does not exist"), "{log}");
    }
}

#[test]
fn without_a_log_file_errors_go_to_stderr_in_the_format() {
    let out = Bundle::busybox().global(["--log-format", "json"]).verb("state").refused();
    let line = out.stderr.lines().last().unwrap();
    let error: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{out:?}"));
    assert_eq!(
        (&error["level"], &error["msg"]),
        (&"error".into(), &"container does not exist".into())
    );
}

#[test]
fn an_unknown_log_format_is_refused() {
    let bundle = Bundle::busybox().global(["--log-format", "xml"]);
    let out = bundle.try_create();
    assert_eq!(out.status, 1);
    assert!(out.stderr.contains("invalid log-format: xml"), "{out:?}");
    bundle.assert_nothing_left();
}

#[test]
fn a_log_file_that_cannot_be_opened_is_refused() {
    let bundle = Bundle::busybox().global(["--log", "/nowhere/log"]);
    let out = bundle.try_create();
    assert_eq!(out.status, 1);
    assert!(out.stderr.contains("/nowhere/log"), "{out:?}");
    bundle.assert_nothing_left();
}

#[test]
fn errors_inside_the_container_reach_the_log_once() {
    let bundle = to_json_file().args(["nosuch"]);
    bundle.refused();
    let lines = lines(&bundle);
    let errors = lines.iter().filter(|line| line["level"] == "error");
    assert_eq!(errors.count(), 1, "{lines:?}");
}

#[test]
fn warnings_have_their_level() {
    let mut bundle = to_json_file().push("/process/capabilities/bounding", "CAP_OF_THE_CAPTAIN");
    bundle.run(["true"]).ok();
    let lines = lines(&bundle);
    let warning = lines.iter().find(|line| line["level"] == "warning");
    assert!(
        warning.is_some_and(|line| line["msg"].to_string().contains("CAP_OF_THE_CAPTAIN")),
        "{lines:?}"
    );
}

#[test]
fn an_error_has_fields_for_programs() {
    differs!();
    let bundle = to_json_file().push("/mounts", json!({ "destination": "/x", "type": "nosuchfs" }));
    bundle.refused();
    let error = lines(&bundle).pop().unwrap();
    assert_eq!(error["code"], "internal", "{error}");
    assert!(error["key"].as_str().unwrap().starts_with("/mounts/"), "{error}");
    assert_eq!(
        (&error["call"], &error["errno"]),
        (&"fsopen(\"nosuchfs\")".into(), &libc::ENODEV.into()),
        "{error}"
    );

    let bundle = to_json_file()
        .push("/mounts", json!({ "destination": "/x", "source": "/no/such", "options": ["bind"] }));
    bundle.refused();
    let error = lines(&bundle).pop().unwrap();
    assert_eq!(
        (&error["path"], &error["errno"]),
        (&"/no/such".into(), &libc::ENOENT.into()),
        "{error}"
    );

    let bundle = to_json_file().args(["/no/such"]);
    bundle.refused();
    let error = lines(&bundle).pop().unwrap();
    assert_eq!(error["code"], "program-not-found", "{error}");

    let bundle = to_json_file();
    bundle.verb("state").refused();
    let error = lines(&bundle).pop().unwrap();
    assert_eq!(error["code"], "no-such-container", "{error}");
    let absent =
        ["key", "path", "call", "errno", "hint"].iter().all(|field| error.get(field).is_none());
    assert!(absent, "fields that do not apply are left out: {error}");
}

#[test]
fn debug_tells_how_long_each_phase_took() {
    differs!();
    let mut bundle = to_json_file().global(["--debug"]);
    let began = std::time::Instant::now();
    bundle.run(["true"]).silent();
    let passed = began.elapsed().as_micros();
    let told = phases(&bundle);
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    let all = "plan prepare clone build resources hooks enter save program life remove";
    assert_eq!(names.join(" "), all);
    let sum: u64 = told.iter().map(|(_, microseconds)| microseconds).sum();
    assert!(sum > 0 && u128::from(sum) < passed, "{told:?} in {passed} microseconds");

    let container = to_json_file().global(["--debug"]).args(["sleep", "60"]).create();
    container.start();
    container.exec(&[], &["true"]).silent();
    container.delete_by_force();
    let names: Vec<String> = phases(&container.bundle).into_iter().map(|(name, _)| name).collect();
    let (create, start, exec) = (
        "plan prepare clone build resources hooks enter save",
        "find program",
        "plan clone enter program",
    );
    assert_eq!(names.join(" "), format!("{create} {start} {exec} stop remove"));

    let mut bundle = Bundle::busybox().global(["--debug", "--log", "log"]);
    bundle.run(["true"]).silent();
    let log = bundle.read("log");
    let line = log.lines().find(|line| line.contains("phase=plan ")).expect("a line for the phase");
    let (_, microseconds) = line.split_once(" microseconds=").expect("its microseconds");
    microseconds.parse::<u64>().expect("a number");

    let mut bundle = to_json_file();
    bundle.run(["true"]).silent();
    assert_eq!(phases(&bundle), [], "not without --debug");
}

/// The phases in the log: names and microseconds.
fn phases(bundle: &Bundle) -> Vec<(String, u64)> {
    let phase = |line: &Value| {
        Some((line.get("phase")?.as_str()?.to_owned(), line["microseconds"].as_u64()?))
    };
    lines(bundle).iter().filter_map(phase).collect()
}

#[test]
fn an_error_says_what_to_do_where_we_know() {
    differs!();
    let bundle = to_json_file().push("/mounts", json!({ "destination": "/x", "type": "nosuchfs" }));
    let out = bundle.refused();
    let error = lines(&bundle).pop().unwrap();
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("/proc/filesystems"), "{error}");
    assert!(out.stderr.contains(hint), "people are told, too: {out:?}");
    assert_eq!(out.stderr.trim_end().lines().count(), 1, "{out:?}");

    // A script whose interpreter is not in the container: the file is there, and execve says that
    // it is not.
    let mut bundle = to_json_file();
    userland::write_program(&bundle.rootfs("bin/script"), "#!/no/such/interpreter\n");
    bundle.run(["/bin/script"]).refused();
    let error = lines(&bundle).pop().unwrap();
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("interpreter")), "{error}");
    assert_eq!(error["path"], "/bin/script", "{error}");
}
