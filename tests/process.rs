//! `process.args`, `env`, `cwd`, `noNewPrivileges`, `oomScoreAdj`

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Bundle, has_sys_resource, json, userland};

#[test]
fn args_reach_the_program_unchanged() {
    let out = Bundle::busybox().run(["printf", "[%s]", "a b", "", "$HOME", "*", "é"]).ok();
    assert_eq!(out.stdout, "[a b][][$HOME][*][é]");
}

#[test]
fn a_program_without_a_slash_is_looked_up_in_the_path_of_the_container() {
    let bundle = Bundle::busybox().set("/process/env", json!(["PATH=/nowhere:/opt:/bin"]));
    fs::create_dir(bundle.rootfs("opt")).unwrap();
    script(&bundle, "opt/tool", "echo from opt");
    script(&bundle, "bin/tool", "echo from bin");
    assert_eq!({ bundle }.run(["tool"]).ok().stdout, "from opt\n");
}

#[test]
fn the_runtimes_own_path_does_not_matter() {
    let mut bundle = Bundle::busybox().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/opt");
    fs::create_dir(bundle.rootfs("opt")).unwrap();
    script(&bundle, "opt/tool", "echo wrong");
    bundle.run(["tool"]).refused().says("executable file not found in $PATH");
}

#[test]
fn without_a_path_nothing_is_looked_up() {
    for env in [json!(["A=1"]), json!(["PATH="])] {
        let mut bundle = Bundle::busybox().set("/process/env", env).set("/process/cwd", "/home");
        script(&bundle, "home/tool", "echo wrong");
        bundle.run(["tool"]).refused().says("executable file not found in $PATH");
    }
}

/// As with Go's look-up: it is found, and not run.
#[test]
fn a_program_is_not_run_by_a_relative_element_of_path() {
    for path in
        ["PATH=:/bin", "PATH=.", "PATH=/nowhere::/bin", "PATH=../home:/bin", "PATH=/nowhere:"]
    {
        let mut bundle =
            Bundle::busybox().set("/process/env", json!([path])).set("/process/cwd", "/home");
        script(&bundle, "home/tool", "echo wrong");
        bundle
            .run(["tool"])
            .refused()
            .says("cannot run executable found relative to current directory");
    }
    let mut bundle =
        Bundle::busybox().set("/process/env", json!(["PATH=:/bin"])).set("/process/cwd", "/home");
    assert_eq!(bundle.run(["echo", "hi"]).ok().line(), "hi", "elsewhere in the path");
}

#[test]
fn a_link_to_itself_and_a_name_too_long_are_told_as_such() {
    let mut bundle = Bundle::busybox();
    symlink("/loop", bundle.rootfs("loop")).unwrap();
    bundle.run(["/loop"]).refused().says("stat /loop: too many levels of symbolic links");
    bundle.run([format!("/{}", "x".repeat(256))]).refused().says("file name too long");
}

#[test]
fn files_that_cannot_be_executed_are_passed_over() {
    let bundle = Bundle::busybox().set("/process/env", json!(["PATH=/opt:/bin"]));
    fs::create_dir_all(bundle.rootfs("opt/echo")).unwrap();
    fs::write(bundle.rootfs("opt/printf"), "no program").unwrap();
    assert_eq!({ bundle }.run(["echo", "hi"]).ok().stdout, "hi\n");
}

#[test]
fn a_program_with_a_slash_is_not_looked_up() {
    assert_eq!(Bundle::busybox().run(["/bin/echo", "hi"]).ok().stdout, "hi\n");
    Bundle::busybox().run(["/echo"]).refused().says("no such file or directory");
}

#[test]
fn a_relative_program_is_relative_to_cwd() {
    let mut bundle = Bundle::busybox().set("/process/cwd", "/home");
    script(&bundle, "home/tool", "echo from home");
    assert_eq!(bundle.run(["./tool"]).ok().stdout, "from home\n");
    assert_eq!(bundle.run(["../home/tool"]).ok().stdout, "from home\n");
}

#[test]
fn a_script_is_run_by_its_interpreter() {
    let mut bundle = Bundle::busybox();
    script(&bundle, "bin/tool", "echo $0 $1");
    assert_eq!(bundle.run(["tool", "x"]).ok().stdout, "/bin/tool x\n");
}

#[test]
fn a_symlinked_program_keeps_its_name() {
    let bundle = Bundle::busybox();
    symlink("/bin/busybox", bundle.rootfs("echo")).unwrap();
    assert_eq!({ bundle }.run(["/echo", "hi"]).ok().stdout, "hi\n");
}

fn script(bundle: &Bundle, path: &str, body: &str) {
    userland::write_program(&bundle.rootfs(path), &format!("#!/bin/sh\n{body}\n"));
}

#[test]
fn env_is_the_environment() {
    let env = json!(["PATH=/bin", "A=1", "B=x=y", "EMPTY=", "SPACE=a b", "HOME=/h"]);
    let out = Bundle::busybox().set("/process/env", env).run(["env"]).ok();
    assert_eq!(out.lines(), ["PATH=/bin", "A=1", "B=x=y", "EMPTY=", "SPACE=a b", "HOME=/h"]);
}

#[test]
fn the_last_of_duplicate_variables_wins() {
    let env = json!(["PATH=/bin", "A=first", "HOME=/", "A=last"]);
    let out = Bundle::busybox().set("/process/env", env).run(["env"]).ok();
    let values: Vec<_> = out.lines().into_iter().filter(|line| line.starts_with("A=")).collect();
    assert_eq!(values, ["A=last"]);
}

#[test]
fn the_last_path_is_searched() {
    let env = json!(["PATH=/nowhere", "PATH=/bin"]);
    Bundle::busybox().set("/process/env", env).run(["true"]).silent();
}

#[test]
fn a_variable_without_an_equals_sign_is_refused() {
    let bundle = Bundle::busybox().push("/process/env", "NOTHING");
    bundle.refused().names("env");
}

#[test]
fn home_comes_from_the_containers_passwd() {
    assert_eq!(Bundle::busybox().sh("echo $HOME").ok().line(), "/root");
    let user = json!({ "uid": 1000, "gid": 1000 });
    assert_eq!(
        Bundle::busybox().set("/process/user", user).sh("echo $HOME").ok().line(),
        "/home/sailor"
    );
}

#[test]
fn home_is_found_in_a_passwd_that_is_not_utf8() {
    let mut bundle = Bundle::busybox();
    let passwd = b"jos:x:7:7:Jos\xe9:/:/bin/sh\nroot:x:0:0:root:/h\xe9:/bin/sh\n";
    fs::remove_file(bundle.rootfs("etc/passwd")).unwrap();
    fs::write(bundle.rootfs("etc/passwd"), passwd).unwrap();
    assert_eq!(bundle.sh("echo -n $HOME | hexdump -e '4/1 \"%02x\"'").ok().line(), "2f68e9");
}

#[test]
fn home_is_the_root_directory_for_unknown_users() {
    let user = json!({ "uid": 4242, "gid": 4242 });
    assert_eq!(Bundle::busybox().set("/process/user", user).sh("echo $HOME").ok().line(), "/");
    let mut bundle = Bundle::busybox();
    fs::remove_file(bundle.rootfs("etc/passwd")).unwrap();
    assert_eq!(bundle.sh("echo $HOME").ok().line(), "/");
}

#[test]
fn home_that_is_set_is_kept() {
    assert_eq!(
        Bundle::busybox().push("/process/env", "HOME=/there").sh("echo $HOME").ok().line(),
        "/there"
    );
}

#[test]
fn an_empty_home_is_filled_in() {
    assert_eq!(
        Bundle::busybox().push("/process/env", "HOME=").sh("echo $HOME").ok().line(),
        "/root"
    );
}

#[test]
fn the_environment_of_the_runtime_stays_outside() {
    let out = Bundle::busybox().env("SECRET", "rum").run(["env"]).ok();
    let mut names: Vec<_> =
        out.lines().into_iter().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "PATH", "TERM"]);
}

#[test]
fn no_environment_at_all_is_fine() {
    let out = Bundle::busybox().set("/process/env", json!([])).run(["/bin/env"]).ok();
    assert_eq!(out.line(), "HOME=/root");
    let out = Bundle::busybox().remove("/process/env").run(["/bin/env"]).ok();
    assert_eq!(out.line(), "HOME=/root");
}

#[test]
fn cwd_is_the_working_directory() {
    assert_eq!(
        Bundle::busybox().set("/process/cwd", "/home/sailor").run(["pwd"]).ok().line(),
        "/home/sailor"
    );
}

#[test]
fn a_missing_cwd_is_made() {
    let mut bundle = Bundle::busybox().set("/process/cwd", "/new/cwd");
    assert_eq!(bundle.run(["pwd"]).ok().line(), "/new/cwd");
    assert!(bundle.rootfs("new/cwd").is_dir());
}

#[test]
fn a_missing_cwd_in_a_read_only_root_is_made_too() {
    let mut bundle = Bundle::busybox().set("/process/cwd", "/new/cwd").set("/root/readonly", true);
    assert_eq!(bundle.run(["pwd"]).ok().line(), "/new/cwd");
}

#[test]
fn a_cwd_that_is_a_file_is_refused() {
    Bundle::busybox()
        .set("/process/cwd", "/etc/passwd")
        .refused()
        .because("not a directory")
        .names("cwd");
}

#[test]
fn a_symlinked_cwd_leads_to_its_target() {
    let mut bundle = Bundle::busybox().set("/process/cwd", "/link");
    symlink("/home/sailor", bundle.rootfs("link")).unwrap();
    assert_eq!(bundle.run(["/bin/pwd", "-P"]).ok().line(), "/home/sailor");
}

#[test]
fn a_cwd_only_its_user_may_enter_is_entered() {
    let user = json!({ "uid": 1000, "gid": 1000 });
    let mut bundle = Bundle::busybox().set("/process/cwd", "/private").set("/process/user", user);
    fs::create_dir(bundle.rootfs("private")).unwrap();
    std::os::unix::fs::chown(bundle.rootfs("private"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(bundle.rootfs("private"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(bundle.run(["pwd"]).ok().line(), "/private");
}

/// Root without CAP_DAC_OVERRIDE could not enter it after the privileges are dropped, only before.
#[test]
fn a_cwd_the_user_may_not_enter_is_no_secret_passage() {
    let user = json!({ "uid": 1000, "gid": 1000 });
    let mut bundle = Bundle::busybox().set("/process/cwd", "/private").set("/process/user", user);
    fs::create_dir(bundle.rootfs("private")).unwrap();
    fs::set_permissions(bundle.rootfs("private"), fs::Permissions::from_mode(0o700)).unwrap();
    let out = bundle.run(["ls", "."]);
    assert_ne!(out.status, 0, "{out:?}");
}

fn no_new_privs(bundle: &mut Bundle) -> String {
    bundle.run(["grep", "NoNewPrivs", "/proc/self/status"]).ok().line().replace('\t', " ")
}

#[test]
fn no_new_privileges_is_set_when_true() {
    assert_eq!(no_new_privs(&mut Bundle::busybox()), "NoNewPrivs: 1");
}

#[test]
fn no_new_privileges_is_unset_when_false_or_missing() {
    assert_eq!(
        no_new_privs(&mut Bundle::busybox().set("/process/noNewPrivileges", false)),
        "NoNewPrivs: 0"
    );
    assert_eq!(
        no_new_privs(&mut Bundle::busybox().remove("/process/noNewPrivileges")),
        "NoNewPrivs: 0"
    );
}

fn oom_score_adj(bundle: &mut Bundle) -> String {
    bundle.run(["cat", "/proc/self/oom_score_adj"]).ok().line().to_owned()
}

#[test]
fn oom_score_adj_is_set() {
    let lowest = if has_sys_resource() { -5 } else { 0 };
    for value in [321, lowest] {
        let mut bundle = Bundle::busybox()
            .set("/process/oomScoreAdj", value)
            .after("echo 77 > /proc/self/oom_score_adj");
        assert_eq!(oom_score_adj(&mut bundle), value.to_string());
    }
}

#[test]
fn oom_score_adj_stays_when_it_is_not_set() {
    let mut bundle = Bundle::busybox().after("echo 77 > /proc/self/oom_score_adj");
    assert_eq!(oom_score_adj(&mut bundle), "77");
}

#[test]
fn an_oom_score_adj_out_of_range_is_refused() {
    Bundle::busybox().set("/process/oomScoreAdj", 1001).refused().names("oomScoreAdj");
}

#[test]
fn signals_have_their_default_meaning_in_the_program() {
    let mut bundle = Bundle::busybox().after("trap '' HUP USR1 PIPE");
    let out = bundle.run(["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]).ok();
    assert!(out.lines().contains(&"SigBlk:\t0000000000000000"), "{out:?}");
}

#[test]
fn the_program_leads_a_session_of_its_own() {
    let out = Bundle::busybox().run(["sh", "-c", "cut -d' ' -f5,6 /proc/self/stat"]).ok();
    assert_eq!(out.line(), "1 1");
}
