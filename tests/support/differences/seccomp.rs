//! System call filters.

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    ("seccomp::a_rule_without_names_is_refused", "runc ignores it"),
    ("seccomp::an_unknown_flag_is_refused", "runc 1.1 supports no flags"),
    ("seccomp::errno_ret_without_an_action_that_uses_it_is_refused", "runc ignores it"),
    ("seccomp::flags_are_accepted", "runc 1.1 supports no flags"),
    (
        "seccomp_moment::an_agent_is_told_at_start_if_it_would_be_asked_about_the_runtime",
        "runc's own calls are sent to the agent",
    ),
    (
        "seccomp_notify::a_limit_of_one_process_is_too_low_and_said_to_be",
        "runc needs more processes for other reasons, and does not report this",
    ),
    (
        "seccomp_notify::a_start_without_the_agent_is_an_error_and_the_program_does_not_run",
        "runc loads the filter in create",
    ),
    (
        "seccomp_notify::an_allow_list_without_sockets_can_notify",
        "runc requires that the profile allows runc's own calls",
    ),
    (
        "seccomp_notify::calls_of_sockets_threads_and_memory_can_notify",
        "runc's own calls are sometimes sent to the agent, too",
    ),
    (
        "seccomp_notify::metadata_without_a_path_is_refused",
        "runc ignores it, which the specification forbids",
    ),
    ("seccomp_notify::waiting_can_be_made_killable", "runc 1.1 supports no flags"),
];
