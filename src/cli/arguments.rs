//! Rewrites arguments that runc's parser accepts and ours does not.
//!
//! runc has Go's flags: a long flag may have one dash (`-no-subreaper`, which go-runc sends), and a
//! switch may have a value (`--debug=true`). If another program's flags may follow the id (`ps`,
//! `exec`), nothing after the id is ours. The flags are read from the definitions of the command
//! line, so this file needs no list of its own.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Whether there may be something to rewrite. Rewriting needs the definitions of all verbs, which
/// take time to build, and clap understands most arguments as they are. So the usual arguments of
/// callers and people are recognised here.
#[must_use]
pub fn may_need_rewriting(args: &[OsString]) -> bool {
    args.iter().skip(1).any(|arg| match arg.as_encoded_bytes() {
        // A switch with a value looks like any flag with one.
        [b'-', b'-', rest @ ..] => rest.is_empty() || rest.contains(&b'='),
        [b'-', _, _, ..] | b"ps" => true,
        _ => false,
    })
}

/// Rewrites the arguments. `program` is [built](Command::build). Unknown arguments are left for
/// clap to refuse.
pub fn rewrite(args: impl IntoIterator<Item = OsString>, program: &Command) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut rewritten: Vec<OsString> = args.next().into_iter().collect();
    let mut command = program;
    while let Some(arg) = args.next() {
        match read(&arg, command) {
            ArgumentKind::Value if command.has_subcommands() => {
                let verb = arg.to_str().and_then(|name| command.find_subcommand(name));
                rewritten.push(arg);
                let Some(verb) = verb else { break };
                if hands_all_on(verb) {
                    rewritten.push("--".into());
                    break;
                }
                command = verb;
            }
            ArgumentKind::Value => {
                // The id. If the flags of another program may follow, nothing after it is ours.
                let ends = command.get_arguments().any(Arg::is_trailing_var_arg_set);
                rewritten.extend(ends.then(|| "--".into()));
                rewritten.push(arg);
                if ends {
                    break;
                }
            }
            ArgumentKind::End => {
                rewritten.push(arg);
                break;
            }
            ArgumentKind::Nothing => {}
            ArgumentKind::Flag(flag, Next::IsArgument) => rewritten.push(flag),
            ArgumentKind::Flag(flag, Next::IsValue) => {
                rewritten.push(flag);
                rewritten.extend(args.next());
            }
        }
    }
    rewritten.extend(args);
    rewritten
}

/// Whether the verb has no flag of its own, not even `--help`: they belong to another program.
fn hands_all_on(verb: &Command) -> bool {
    verb.is_disable_help_flag_set()
}

/// The kind of an argument.
enum ArgumentKind {
    /// A flag as clap writes it.
    Flag(OsString, Next),
    /// A switch that is turned off.
    Nothing,
    /// `--`.
    End,
    /// The verb, or an argument that is no flag.
    Value,
}

/// The kind of the argument after a flag.
enum Next {
    IsArgument,
    IsValue,
}

fn read(arg: &OsString, command: &Command) -> ArgumentKind {
    let as_it_is = || ArgumentKind::Flag(arg.clone(), Next::IsArgument);
    // A path that is not UTF-8 is a value, or comes after the `=` of a flag.
    let Some(text) = arg.to_str() else {
        return if arg.as_encoded_bytes().starts_with(b"-") {
            as_it_is()
        } else {
            ArgumentKind::Value
        };
    };
    let body = match text.strip_prefix("--") {
        Some("") => return ArgumentKind::End,
        Some(body) => body,
        None => match text.strip_prefix('-') {
            None | Some("") => return ArgumentKind::Value,
            Some(body) if is_cluster(body, command) => return cluster(body, arg, command),
            Some(body) => body,
        },
    };
    let (name, value) =
        body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
    let Some(known) = command.get_arguments().find(|known| known.get_long() == Some(name)) else {
        return if text.starts_with("--") { as_it_is() } else { cluster(body, arg, command) };
    };
    if known.is_require_equals_set() {
        // A switch with three states: on, off, and not given.
        return ArgumentKind::Flag(format!("--{body}").into(), Next::IsArgument);
    }
    match (takes_value(known), value.map(truth)) {
        (true, None) => ArgumentKind::Flag(format!("--{name}").into(), Next::IsValue),
        (false, None | Some(Some(true))) => {
            ArgumentKind::Flag(format!("--{name}").into(), Next::IsArgument)
        }
        (false, Some(Some(false))) => ArgumentKind::Nothing,
        (true, Some(_)) | (false, Some(None)) => {
            ArgumentKind::Flag(format!("--{body}").into(), Next::IsArgument)
        }
    }
}

/// Whether `body` contains only short switches, so that `-qf` is two of them.
fn is_cluster(body: &str, command: &Command) -> bool {
    body.chars().all(|letter| short(letter, command).is_some())
}

/// Short flags. The first one that takes a value has the rest as its value, or the next argument.
fn cluster(body: &str, arg: &OsString, command: &Command) -> ArgumentKind {
    let mut letters = body.chars();
    let with_value = letters.find(|letter| short(*letter, command).is_none_or(takes_value));
    let known = with_value.is_some_and(|letter| short(letter, command).is_some());
    let next = if known && letters.as_str().is_empty() { Next::IsValue } else { Next::IsArgument };
    ArgumentKind::Flag(arg.clone(), next)
}

fn short(letter: char, command: &Command) -> Option<&Arg> {
    command.get_arguments().find(|known| known.get_short() == Some(letter))
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// As Go's `strconv.ParseBool`.
fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    fn program() -> Command {
        let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let option = |name: &'static str| Arg::new(name).long(name);
        let id = Arg::new("id");
        let mut program =
            Command::new("orlop").arg(option("root")).arg(switch("debug")).subcommands([
                Command::new("run").args([
                    option("bundle").short('b'),
                    switch("detach").short('d'),
                    switch("no-pivot"),
                    id.clone(),
                ]),
                Command::new("ps").args([
                    option("format").short('f'),
                    switch("quiet").short('q'),
                    Arg::new("both").long("both").num_args(0..=1).require_equals(true),
                    id,
                    Arg::new("options").num_args(0..).trailing_var_arg(true),
                ]),
                Command::new("image")
                    .disable_help_flag(true)
                    .arg(Arg::new("arguments").num_args(0..).trailing_var_arg(true)),
            ]);
        program.build();
        program
    }

    fn rewrite(line: &str) -> String {
        let args = std::iter::once("orlop").chain(line.split(' ')).map(Into::into);
        let rewritten = super::rewrite(args, &program());
        let texts: Vec<_> = rewritten.iter().skip(1).map(|arg| arg.to_string_lossy()).collect();
        texts.join(" ")
    }

    #[test]
    fn arguments_are_rewritten() {
        for (given, expected) in [
            // Long flags with one dash, global and of the verb.
            ("-root /r run -no-pivot x", "--root /r run --no-pivot x"),
            ("-root=/r run -bundle=/b=c x", "--root=/r run --bundle=/b=c x"),
            ("run x -no-pivot -bundle /b", "run x --no-pivot --bundle /b"),
            ("run -help", "run --help"),
            // Short flags, alone, together, with their values.
            ("run -b -no-pivot -d x", "run -b -no-pivot -d x"),
            ("run -db /b x", "run -db /b x"),
            ("run -b/x -d x", "run -b/x -d x"),
            ("run -dd x", "run -dd x"),
            // Switches with a value.
            ("--debug=true run --detach=1 x", "--debug run --detach x"),
            ("--debug=false run -detach=f -no-pivot=0 x", "run x"),
            ("--debug=maybe run x", "--debug=maybe run x"),
            // A value is not changed.
            ("run --bundle -no-pivot x", "run --bundle -no-pivot x"),
            ("--root -debug run x", "--root -debug run x"),
            ("run - x", "run - x"),
            // Unknown flags are not changed, nor is anything after `--` or an unknown verb.
            ("-nosuch run -nosuch --nosuch=1 x", "-nosuch run -nosuch --nosuch=1 x"),
            ("run -- -no-pivot", "run -- -no-pivot"),
            ("moon -debug", "moon -debug"),
            // After the id of a verb that passes flags on, none is ours.
            ("ps x", "ps -- x"),
            ("ps -format json x -q -format y", "ps --format json -- x -q -format y"),
            ("ps -qf json x -ef", "ps -qf json -- x -ef"),
            ("ps -- x -q", "ps -- x -q"),
            // No flag of a verb that passes all of them on is ours.
            ("--debug=true image -debug=true copy -- x", "--debug image -- -debug=true copy -- x"),
            ("image -- x", "image -- -- x"),
            // A switch with three states.
            ("ps -both x -q", "ps --both -- x -q"),
            ("ps -both=false x", "ps --both=false -- x"),
        ] {
            assert_eq!(rewrite(given), expected, "{given}");
        }
    }

    #[test]
    fn what_is_not_utf8_passes() {
        use std::os::unix::ffi::OsStringExt;
        let path = std::ffi::OsString::from_vec(vec![b'/', 0xff]);
        let args = ["orlop".into(), "run".into(), "-bundle".into(), path.clone(), path.clone()];
        let expected = ["orlop".into(), "run".into(), "--bundle".into(), path.clone(), path];
        assert_eq!(super::rewrite(args, &program()), expected);
    }
}
