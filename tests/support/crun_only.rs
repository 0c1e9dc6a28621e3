//! Tests of what crun has and runc does not: the other part of [`super::differences`].

/// Their names, sorted.
pub const TESTS: &[&str] = &[
    "annotations::a_file_for_hooks_that_cannot_be_is_refused",
    "annotations::a_hook_that_fails_is_quoted_by_what_has_no_file",
    "annotations::exec_keeps_the_groups_of_its_caller",
    "annotations::groups_that_are_asked_for_as_well_are_a_warning",
    "annotations::in_a_user_namespace_the_kept_groups_still_count",
    "annotations::the_groups_of_the_caller_are_kept",
    "annotations::what_hooks_print_is_appended_to_the_files",
    "cgroup_manager::disabled_leaves_the_container_in_its_callers_cgroup",
    "cgroup_manager::disabled_refuses_limits_and_warns_of_a_path",
    "cgroup_manager::disabled_shows_the_cgroup_filesystem",
    "cgroup_manager::the_other_managers_are_those_of_systemd_cgroup",
];
