//! No flag without a test that fails when the flag does nothing: a table, held against the command
//! line as it is defined, and against the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::runtime;

/// A flag, or a verb, and the test of what it does. Short forms are the same flags, and need none
/// of their own.
const TESTS: &[(&str, &str)] = &[
    ("--cgroup-manager", "cgroup_manager::disabled_leaves_the_container_in_its_callers_cgroup"),
    ("--debug", "logging::debug_goes_to_the_log_file"),
    ("--log", "logging::errors_are_json_lines_in_the_log_file"),
    ("--log-format", "logging::without_a_log_file_errors_go_to_stderr_in_the_format"),
    ("--root", "cli::root_takes_an_equals_sign"),
    ("--rootless", "rootless_cgroup::the_flag_says_whether_to_do_without"),
    ("--systemd-cgroup", "systemd::the_cgroup_is_a_scope_in_the_slice"),
    ("--version", "cli::version_has_the_lines_tools_parse"),
    ("check", "check::the_default_bundle_has_no_problems"),
    ("check --bundle", "check::each_problem_is_found_and_is_the_one_of_create"),
    ("check --json", "check::each_problem_is_found_and_is_the_one_of_create"),
    ("checkpoint", "checkpoint::processes_go_on_where_they_were"),
    ("checkpoint --auto-dedup", "checkpoint_flags::checkpoint_tells_criu_of_its_flags"),
    ("checkpoint --empty-ns", "checkpoint_refused::bad_flags_are_refused_and_nothing_is_made"),
    ("checkpoint --ext-unix-sk", "checkpoint_flags::checkpoint_tells_criu_of_its_flags"),
    ("checkpoint --file-locks", "checkpoint_flags::checkpoint_tells_criu_of_its_flags"),
    ("checkpoint --image-path", "checkpoint::processes_go_on_where_they_were"),
    ("checkpoint --lazy-pages", "checkpoint::pages_are_brought_when_they_are_touched"),
    ("checkpoint --leave-running", "checkpoint::leave_running_leaves_it_running"),
    ("checkpoint --link-remap", "checkpoint_flags::checkpoint_tells_criu_of_its_newer_flags"),
    ("checkpoint --manage-cgroups-mode", "checkpoint_flags::checkpoint_tells_criu_of_its_flags"),
    ("checkpoint --page-server", "checkpoint_flags::pages_go_to_the_page_server"),
    ("checkpoint --parent-path", "checkpoint::memory_can_be_saved_before"),
    ("checkpoint --pre-dump", "checkpoint_flags::pre_dump_asks_for_the_memory_only"),
    ("checkpoint --shell-job", "checkpoint_flags::checkpoint_tells_criu_of_its_flags"),
    ("checkpoint --status-fd", "checkpoint::pages_are_brought_when_they_are_touched"),
    ("checkpoint --tcp-established", "checkpoint_flags::checkpoint_tells_criu_of_its_flags"),
    (
        "checkpoint --tcp-skip-in-flight",
        "checkpoint_flags::checkpoint_tells_criu_of_its_newer_flags",
    ),
    ("checkpoint --work-path", "checkpoint_flags::the_log_is_in_the_work_path_or_with_the_images"),
    ("create", "create::create_does_not_run_the_program"),
    ("create --bundle", "create::bundle_may_be_relative_and_its_flag_short"),
    ("create --console-socket", "terminal::create_sends_the_terminal_and_its_name"),
    ("create --no-new-keyring", "create::no_new_keyring_keeps_the_session_keyring"),
    ("create --no-pivot", "root::no_pivot_does_without_pivot_root"),
    ("create --pid-file", "create::pid_file_holds_the_pid_without_a_newline"),
    ("create --pidfd-socket", "pidfd_socket::create_and_run_send_init"),
    ("create --preserve-fds", "preserve_fds::create_keeps_them_until_start"),
    ("delete", "delete::delete_removes_a_stopped_container"),
    ("delete --force", "delete::force_kills_a_running_container"),
    ("events", "events::the_stream_shows_statistics_at_intervals"),
    ("events --format", "openmetrics::it_is_shown_once_and_the_stream_stays_json"),
    ("events --interval", "events::the_stream_shows_statistics_at_intervals"),
    ("events --stats", "events::stats_have_the_parts_that_tools_know"),
    ("exec", "exec::exec_prints_what_the_program_prints_and_nothing_else"),
    ("exec --additional-gids", "exec_process::the_user_is_the_containers_or_the_given_one"),
    ("exec --apparmor", "exec_process::lsm_labels_are_not_passed_over_in_silence"),
    ("exec --cap", "exec_process::capabilities_are_the_containers_and_what_is_added"),
    ("exec --cgroup", "exec_cgroup::a_sub_cgroup_is_joined_in_one_hierarchy"),
    ("exec --console-socket", "terminal::exec_makes_a_terminal_of_the_given_size"),
    ("exec --cwd", "exec_process::cwd_is_the_containers_or_the_given_one"),
    ("exec --detach", "exec::detach_returns_while_the_program_runs"),
    ("exec --env", "exec_process::the_environment_is_the_containers_and_what_is_added"),
    ("exec --ignore-paused", "exec_cgroup::a_paused_container_is_refused_unless_that_is_ignored"),
    ("exec --no-new-privs", "exec_process::no_new_privileges_is_the_containers_or_the_given_one"),
    ("exec --pid-file", "exec::the_pid_file_names_the_process"),
    ("exec --pidfd-socket", "pidfd_socket::exec_sends_its_process"),
    ("exec --preserve-fds", "preserve_fds::exec_hands_them_on"),
    ("exec --process", "exec_process::a_process_file_says_it_all"),
    ("exec --process-label", "exec_process::lsm_labels_are_not_passed_over_in_silence"),
    ("exec --tty", "terminal_foreground::exec_shows_a_terminal_on_ours"),
    ("exec --user", "exec_process::the_user_is_the_containers_or_the_given_one"),
    ("features", "features::lists_are_sorted_and_name_the_usual"),
    ("image", "image::all_that_follows_goes_to_the_program_beside_ours"),
    ("kill", "kill::signals_go_by_number"),
    ("kill --all", "kill::all_reaches_every_process"),
    ("list", "list::the_table_has_a_row_for_each_container"),
    ("list --format", "list::json_is_one_line_with_the_fields_of_state_and_the_owner"),
    ("list --quiet", "list::quiet_prints_ids_in_order_whatever_the_format"),
    ("mounts", "running_mounts::mounts_are_made_and_taken_away"),
    ("pause", "pause::a_paused_container_stands_still_until_it_is_resumed"),
    ("ps", "ps::the_table_is_that_of_ps_ef"),
    ("ps --format", "ps::json_is_one_line_of_host_pids"),
    ("restore", "checkpoint::processes_go_on_where_they_were"),
    ("restore --auto-dedup", "checkpoint_flags::restore_tells_criu_of_its_flags"),
    ("restore --bundle", "checkpoint::processes_go_on_where_they_were"),
    ("restore --console-socket", "checkpoint::a_terminal_goes_to_the_new_console_socket"),
    ("restore --detach", "checkpoint::processes_go_on_where_they_were"),
    ("restore --empty-ns", "checkpoint_refused::what_cannot_be_restored_leaves_nothing"),
    ("restore --ext-unix-sk", "checkpoint_flags::restore_tells_criu_of_its_flags"),
    ("restore --file-locks", "checkpoint_flags::restore_tells_criu_of_its_flags"),
    ("restore --image-path", "checkpoint::processes_go_on_where_they_were"),
    ("restore --lazy-pages", "checkpoint_flags::restore_tells_criu_of_its_flags"),
    ("restore --lsm-mount-context", "checkpoint_flags::restore_tells_criu_of_its_flags"),
    ("restore --lsm-profile", "checkpoint_flags::restore_tells_criu_of_its_flags"),
    ("restore --manage-cgroups-mode", "checkpoint_flags::restore_tells_criu_of_its_newer_flags"),
    ("restore --no-pivot", "checkpoint_flags::no_pivot_refuses_what_it_refuses_at_create"),
    ("restore --no-subreaper", "checkpoint_flags::no_subreaper_leaves_orphans_to_the_host"),
    ("restore --pid-file", "checkpoint::the_pid_file_names_the_restored_process"),
    ("restore --shell-job", "checkpoint_flags::restore_tells_criu_of_its_flags"),
    ("restore --tcp-close", "checkpoint_flags::restore_tells_criu_of_its_newer_flags"),
    ("restore --tcp-established", "checkpoint_flags::restore_tells_criu_of_its_flags"),
    ("restore --work-path", "checkpoint::the_pid_file_names_the_restored_process"),
    ("resume", "pause::a_paused_container_stands_still_until_it_is_resumed"),
    ("run", "run::run_prints_what_the_program_prints_and_nothing_else"),
    ("run --bundle", "run::run_prints_what_the_program_prints_and_nothing_else"),
    ("run --console-socket", "terminal::run_detached_sends_the_terminal"),
    ("run --detach", "run::detach_returns_while_the_program_runs"),
    ("run --keep", "run::keep_keeps_the_stopped_container"),
    ("run --no-new-keyring", "create::no_new_keyring_keeps_the_session_keyring"),
    ("run --no-pivot", "root::no_pivot_does_without_pivot_root"),
    ("run --no-subreaper", "run::no_subreaper_leaves_orphans_to_the_host"),
    ("run --pid-file", "run::pid_file_is_written_by_run"),
    ("run --pidfd-socket", "pidfd_socket::create_and_run_send_init"),
    (
        "run --preserve-fds",
        "preserve_fds::as_many_descriptors_as_asked_for_reach_the_program_at_their_numbers",
    ),
    ("spec", "spec::the_file_goes_to_the_present_directory"),
    ("spec --bundle", "spec::what_is_written_runs"),
    ("spec --rootless", "spec::rootless_maps_the_user_and_runs"),
    ("start", "start::start_runs_the_program"),
    ("state", "state::state_has_exactly_the_specified_keys"),
    ("update", "update::resources_come_from_a_file"),
    ("update --blkio-weight", "update::blkio_weight_is_written"),
    ("update --cpu-burst", "update::cpu_burst_and_idle"),
    ("update --cpu-idle", "update::cpu_burst_and_idle"),
    ("update --cpu-period", "update::cpu_shares_quota_period_burst_and_idle"),
    ("update --cpu-quota", "update::cpu_shares_quota_period_burst_and_idle"),
    ("update --cpu-rt-period", "update::realtime_period"),
    ("update --cpu-rt-runtime", "update::realtime_period"),
    ("update --cpu-share", "update::cpu_shares_quota_period_burst_and_idle"),
    ("update --cpuset-cpus", "update::cpuset"),
    ("update --cpuset-mems", "update::cpuset"),
    ("update --kernel-memory", "update::kernel_memory_is_ignored_with_a_warning"),
    ("update --kernel-memory-tcp", "update::kernel_memory_is_ignored_with_a_warning"),
    ("update --l3-cache-schema", "update::nonsense_is_refused_and_changes_nothing"),
    ("update --mem-bw-schema", "update::nonsense_is_refused_and_changes_nothing"),
    ("update --memory", "update::memory_takes_bytes_and_units"),
    ("update --memory-reservation", "update::memory_reservation_and_swap"),
    ("update --memory-swap", "update::memory_reservation_and_swap"),
    ("update --pids-limit", "update::pids_limit"),
    ("update --resources", "update::resources_come_from_a_file"),
];

/// The verbs and all flags, hidden ones too, as the command line is defined.
fn defined() -> BTreeSet<String> {
    let program = orlop::cli::command();
    let flags = |command: &clap::Command, before: &str| -> Vec<String> {
        let flags =
            command.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| *flag != "help");
        flags.map(|flag| format!("{before}--{flag}")).collect()
    };
    let mut found: BTreeSet<String> = flags(&program, "").into_iter().collect();
    for verb in program.get_subcommands().filter(|verb| verb.get_name() != "help") {
        found.insert(verb.get_name().to_owned());
        found.extend(flags(verb, &format!("{} ", verb.get_name())));
    }
    found
}

#[test]
fn every_flag_and_verb_has_a_test() {
    assert!(TESTS.is_sorted(), "the table is sorted");
    let listed: BTreeMap<&str, &str> = TESTS.iter().copied().collect();
    let defined = defined();
    let missing: Vec<&String> =
        defined.iter().filter(|flag| !listed.contains_key(flag.as_str())).collect();
    assert!(missing.is_empty(), "name in tests/flags.rs the tests of {missing:?}");
    let gone: Vec<&&str> = listed.keys().filter(|flag| !defined.contains(**flag)).collect();
    assert!(gone.is_empty(), "there are no such flags or verbs: {gone:?}");
}

/// The named tests are there, and give the flag, or call the verb, themselves or by way of what
/// their file has for it.
#[test]
fn the_tests_of_flags_give_them() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    needs!(tests.is_dir(), "source tree");
    let support = ["bundle.rs", "container.rs"]
        .map(|file| runtime::read(&tests.join("support").join(file)))
        .concat();
    for (given, test) in TESTS {
        let (module, name) = test.split_once("::").expect("module::test");
        let source = runtime::read(&tests.join(module).with_extension("rs"));
        assert!(
            source.contains(&format!("#[test]\nfn {name}() {{\n")),
            "{given}: there is no test {test}"
        );
        let word = given.rsplit(' ').next().expect("a word");
        let text = format!("{source}{support}");
        let long = text.contains(&format!("{word}\"")) || text.contains(&format!("{word}="));
        assert!(
            long || short(given).is_some_and(|short| text.contains(&short)),
            "{test} never says {word}"
        );
    }
}

/// The short form of a flag, as a test would write it.
fn short(given: &str) -> Option<String> {
    let program = orlop::cli::command();
    let (verb, flag) = given.split_once(" --")?;
    let command = program.find_subcommand(verb)?;
    let flag = command.get_arguments().find(|argument| argument.get_long() == Some(flag))?;
    flag.get_short().map(|letter| format!("\"-{letter}\""))
}
