//! The program, processes of `exec`, and hooks.

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    (
        "births::a_created_container_knows_nothing_of_its_caller",
        "runc init keeps its arguments and its environment",
    ),
    (
        "births::a_session_keyring_that_is_there_already_is_not_the_containers",
        "runc joins the existing keyring",
    ),
    (
        "births::exec_hears_signals_while_its_process_is_stopped",
        "the process of runc exec has another name",
    ),
    (
        "births::no_signal_that_the_caller_ignores_is_ignored_by_hooks",
        "runc leaves signals 32 and 34 ignored, because Go does not change them",
    ),
    (
        "births::no_signal_that_the_caller_ignores_is_ignored_by_hooks_in_the_container",
        "runc leaves signals 32 and 34 ignored, because Go does not change them",
    ),
    (
        "births::no_signal_that_the_caller_ignores_is_ignored_by_the_program",
        "runc leaves signals 32 and 34 ignored, because Go does not change them",
    ),
    (
        "births::run_hears_signals_before_the_program_runs",
        "the signal kills runc, and what it has made stays",
    ),
    (
        "births::run_is_not_ended_by_a_signal_that_its_caller_ignores",
        "runc 1.1 sometimes ends with status 2",
    ),
    (
        "capabilities::what_one_set_keeps_from_another_is_a_warning",
        "runc 1.1 fails, or does not warn",
    ),
    (
        "exec::a_container_without_a_mount_namespace_keeps_its_root",
        "runc runs the program in the host's root directory",
    ),
    ("exec::a_time_namespace_is_joined", "runc 1.1 has no time namespaces"),
    (
        "exec::no_program_runs_without_its_pid_file",
        "runc 1.1 writes the file after the program has started, which sometimes runs",
    ),
    (
        "exec_cgroup::a_runtime_that_is_killed_leaves_no_process",
        "runc's process sometimes runs the program after the runtime was killed",
    ),
    (
        "exec_cgroup::a_sub_cgroup_is_one_and_below_the_containers",
        "runc 1.1 has other error texts, or uses the last one",
    ),
    (
        "exec_process::a_user_out_of_range_is_refused",
        "in runc the number wraps around, or is ignored",
    ),
    ("exec_process::exec_cpu_affinity_is_set", "runc 1.1 does not know the key"),
    ("exec_process::the_config_is_the_one_of_create", "runc reads the bundle again"),
    ("exec_process::the_umask_is_the_containers", "runc 1.1 does not set the umask"),
    (
        "hook_failures::a_hook_with_a_relative_path_is_refused",
        "runc 1.1 looks it up in its own PATH",
    ),
    (
        "hook_failures::a_poststart_hook_that_fails_ends_the_container",
        "runc runs poststart hooks during create",
    ),
    (
        "hook_failures::a_poststop_hook_that_fails_is_only_a_warning",
        "runc 1.1 logs an error and skips the later hooks",
    ),
    (
        "hook_failures::a_start_container_hook_that_fails_ends_the_container",
        "runc only stops the container",
    ),
    (
        "hook_failures::a_timeout_that_is_not_positive_is_refused",
        "runc 1.1 uses a timeout of zero, and sometimes the hook ends sooner",
    ),
    (
        "hook_filter::a_filter_need_not_allow_what_makes_a_hook",
        "the filter also applies to runc's own calls",
    ),
    ("hooks::a_hook_need_not_read_its_state", "runc sometimes dies of SIGPIPE"),
    (
        "hooks::poststart_hooks_run_after_the_program_has_started",
        "runc runs poststart hooks during create",
    ),
    ("hooks::poststart_reads_the_state_running", "runc runs poststart hooks during create"),
    (
        "labels::a_false_proc_does_not_keep_the_profile_from_the_kernel",
        "runc 1.1 has CVE-2025-52881",
    ),
    ("memory_policy::bad_policies_are_refused", "runc 1.1 does not know the key"),
    ("memory_policy::every_mode_is_set", "runc 1.1 does not know the key"),
    ("memory_policy::exec_has_the_containers", "runc 1.1 does not know the key"),
    ("memory_policy::flags_are_set", "runc 1.1 does not know the key"),
    ("memory_policy::weighted_interleaving_is_set", "runc 1.1 does not know the key"),
    ("memory_policy::what_the_kernel_refuses_leaves_nothing", "runc 1.1 does not know the key"),
    (
        "notify_socket::a_foreground_run_passes_signals_on_before_the_program_is_ready",
        "runc passes no signals on until then",
    ),
    (
        "notify_socket::a_program_that_never_says_so_ends_as_any_other",
        "runc continues to wait, in the foreground for ever",
    ),
    (
        "notify_socket::nobody_at_the_socket_is_an_error_of_start",
        "runc uses the socket only when the program already runs",
    ),
    (
        "notify_socket::start_waits_for_the_answer_of_the_host",
        "runc 1.1 does not request an answer",
    ),
    ("personality::exec_has_the_containers", "runc 1.1 does not know the key"),
    ("personality::the_domain_is_set", "runc 1.1 does not know the key"),
    ("personality::unknown_domains_and_flags_are_refused", "runc 1.1 does not know the key"),
    (
        "pidfd_socket::a_listener_that_hangs_up_is_an_error_and_leaves_nothing",
        "runc 1.1 does not have the flag",
    ),
    ("pidfd_socket::a_socket_that_is_not_there_is_refused", "runc 1.1 does not have the flag"),
    ("pidfd_socket::create_and_run_send_init", "runc 1.1 does not have the flag"),
    ("pidfd_socket::exec_sends_its_process", "runc 1.1 does not have the flag"),
    (
        "pidfd_socket::exec_to_a_socket_that_is_not_there_is_refused",
        "runc 1.1 does not have the flag",
    ),
    ("pidfd_socket::the_path_may_be_long", "runc 1.1 does not have the flag"),
    ("preserve_fds::a_negative_number_of_listen_fds_is_none", "runc 1.1 crashes"),
    (
        "preserve_fds::a_number_that_is_none_is_refused",
        "runc treats a negative number as zero, and prints its help",
    ),
    (
        "preserve_fds::hooks_do_not_get_them",
        "runc 1.1 passes them and its own descriptors to hooks in the container",
    ),
    (
        "preserve_fds::listen_fds_that_are_not_open_are_refused",
        "runc prints only the kernel's error",
    ),
    ("preserve_fds::the_names_of_listen_fds_reach_the_program", "runc does not pass the names on"),
    ("preserve_fds::the_runtime_lets_go_of_them", "runc in the foreground keeps them open"),
    (
        "preserve_fds::what_is_not_open_is_left_out",
        "runc fails; crun continues without them, as Podman requires",
    ),
    ("preserve_fds::what_we_opened_ourselves_is_not_preserved", "runc passes on its own log file"),
    (
        "rlimits::a_duplicate_limit_is_refused",
        "runc uses the last one, which the specification forbids",
    ),
    ("scheduling::a_bad_process_of_exec_is_refused", "runc 1.1 does not know the key"),
    ("scheduling::a_deadline_on_some_of_the_cpus_is_refused", "runc 1.1 does not know the key"),
    (
        "scheduling::a_realtime_policy_without_the_right_to_it_leaves_nothing",
        "runc 1.1 does not know the key",
    ),
    (
        "scheduling::a_user_namespace_and_an_ordinary_user_are_no_obstacle",
        "runc 1.1 does not know the key",
    ),
    ("scheduling::bad_io_priorities_are_refused", "runc 1.1 does not know the key"),
    ("scheduling::bad_schedulers_are_refused", "runc 1.1 does not know the key"),
    ("scheduling::every_io_priority_is_set", "runc 1.1 does not know the key"),
    ("scheduling::every_policy_is_set", "runc 1.1 does not know the key"),
    (
        "scheduling::exec_has_the_containers_io_priority_or_its_own",
        "runc 1.1 does not know the key",
    ),
    ("scheduling::exec_has_the_containers_scheduler_or_its_own", "runc 1.1 does not know the key"),
    ("scheduling::the_cpus_are_not_the_callers", "runc 1.1 passes the caller's CPUs on"),
    ("scheduling::the_nice_value_is_set", "runc 1.1 does not know the key"),
    ("terminal::a_long_path_leads_to_the_socket", "runc accepts paths of up to 107 bytes"),
    ("terminal::a_size_that_no_terminal_has_is_refused", "in runc the number wraps around"),
    (
        "terminal_foreground::exec_shows_a_terminal_on_ours",
        "runc sets the size after the program has started, so the program sometimes has none",
    ),
    (
        "terminal_foreground::who_is_left_behind_does_not_hold_up_the_end",
        "runc 1.1 sometimes gives up before all processes are dead",
    ),
    (
        "terminal_foreground::with_all_of_stdio_redirected_the_controlling_terminal_counts",
        "runc sets the size after the program has started, so the program sometimes has none",
    ),
    (
        "terminal_names::a_console_that_is_a_link_is_refused",
        "runc 1.1 follows the link, inside the container",
    ),
    ("terminal_names::a_console_that_is_something_else_is_covered", "runc 1.1 empties the file"),
    ("terminal_names::a_dev_that_is_a_link_stays_inside", "runc 1.1 has CVE-2026-41579"),
    (
        "terminal_names::what_is_mounted_over_the_multiplexer_is_not_opened",
        "runc 1.1 opens any file that is there",
    ),
    (
        "terminal_names::without_a_mount_namespace_there_is_no_console",
        "runc needs a /proc in the rootfs",
    ),
];
