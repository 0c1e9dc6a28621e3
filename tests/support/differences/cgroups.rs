//! Cgroups, limits and statistics.

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    ("cgroup::a_cgroup_with_processes_in_it_is_refused", "runc 1.1 only warns"),
    (
        "cgroup::all_processes_die_with_the_container_on_v2",
        "runc 1.1 sometimes gives up before all processes are dead",
    ),
    (
        "cgroup::the_processes_of_a_threaded_cgroup_are_the_containers_on_v2",
        "runc refuses a threaded cgroup, because it cannot list its processes",
    ),
    ("cgroup_devices::a_letter_that_is_no_access_is_refused", "runc ignores the letter"),
    ("events::all_ends_with_the_container", "runc 1.1 waits for the removal of a v1 cgroup"),
    ("events::pressure_is_shown_where_the_kernel_has_it", "runc 1.1 has no pressure statistics"),
    ("events::the_stream_needs_no_memory_controller", "runc fails without one"),
    ("frozen::a_start_that_stays_paused_is_given_up", "runc does not wait for the program"),
    ("frozen::a_start_whose_init_stays_stopped_is_given_up", "runc waits for ever"),
    ("frozen::an_init_that_stays_stopped_is_given_up", "runc waits for ever"),
    ("frozen::no_container_is_made_below_a_frozen_cgroup", "runc waits for ever"),
    ("frozen::no_container_is_made_below_a_frozen_cgroup_of_v2", "runc waits for ever"),
    ("frozen::nothing_is_started_or_run_below_a_frozen_cgroup", "runc waits for ever"),
    (
        "intel_rdt::the_schemata_of_the_containers_group_are_in_its_statistics",
        "runc finds the group by its config",
    ),
    ("intel_rdt::values_of_the_wrong_type_are_refused", "runc 1.1 does not know all the keys"),
    ("intel_rdt::without_resctrl_it_is_refused", "runc 1.1 ignores intelRdt without a schema"),
    (
        "limit_values::a_pids_limit_of_0_is_one_process_since_version_1_3",
        "in runc 1.1, 0 is no limit",
    ),
    (
        "limit_values::a_pids_limit_of_0_was_none_before_version_1_3",
        "in newer versions of runc, 0 is one process",
    ),
    ("limit_values::shares_of_an_idle_cgroup_are_ignored_with_a_warning", "runc fails"),
    ("limits::a_container_starts_with_512_kib_of_memory", "runc needs twenty times as much memory"),
    (
        "limits::a_limit_below_the_usage_is_refused_if_that_is_to_be_checked",
        "runc 1.1 does not know checkBeforeUpdate; what the kernel does depends on the machine",
    ),
    ("limits::limits_are_updated", "runc 1.1 updates only some of them"),
    ("limits::limits_are_updated_on_v2", "runc 1.1 updates only some of them"),
    ("limits::limits_are_updated_with_systemd", "runc 1.1 updates only some of them"),
    (
        "limits::limits_that_runc_lacks_are_set",
        "runc 1.1 does not have these, or converts them differently",
    ),
    (
        "limits::limits_that_runc_lacks_are_set_with_systemd",
        "runc 1.1 does not have these, or converts them differently",
    ),
    (
        "limits::networks_have_classes_and_priorities",
        "runc looks for cgroup v1 only below /sys/fs/cgroup",
    ),
    ("openmetrics::a_stopped_container_has_no_metrics", "runc has no OpenMetrics"),
    ("openmetrics::an_unknown_format_is_refused", "runc has no OpenMetrics"),
    ("openmetrics::block_io_is_the_kernels", "runc has no OpenMetrics"),
    ("openmetrics::cpu_time_is_the_kernels", "runc has no OpenMetrics"),
    ("openmetrics::huge_pages_are_the_kernels", "runc has no OpenMetrics"),
    ("openmetrics::it_is_shown_once_and_the_stream_stays_json", "runc has no OpenMetrics"),
    ("openmetrics::kills_by_the_oom_killer_are_counted", "runc has no OpenMetrics"),
    ("openmetrics::memory_is_the_kernels", "runc has no OpenMetrics"),
    ("openmetrics::pressure_is_the_kernels", "runc has no OpenMetrics"),
    ("openmetrics::the_cpuset_is_the_kernels", "runc has no OpenMetrics"),
    ("openmetrics::the_text_is_what_the_specification_says", "runc has no OpenMetrics"),
    ("openmetrics::throttling_is_the_kernels", "runc has no OpenMetrics"),
    ("openmetrics::without_a_limit_it_is_infinite", "runc has no OpenMetrics"),
    (
        "rootless_cgroup::a_controller_that_is_not_delegated_is_named",
        "runc 1.1 says \"no such file or directory\"",
    ),
    (
        "rootless_cgroup::no_cgroup_and_no_pid_namespace_is_a_warning",
        "runc 1.1.5 does not warn; newer ones do",
    ),
    (
        "rootless_cgroup::the_users_systemd_makes_the_cgroup",
        "with runc 1.1, a process of exec is outside the user's unit",
    ),
    ("systemd::no_unit_is_made_in_a_frozen_slice", "runc waits for ever"),
    ("systemd_limits::a_container_that_ceases_to_be_idle_stays_so", "runc leaves the unit idle"),
    ("systemd_limits::a_weight_of_an_idle_container_is_ignored", "runc fails"),
    (
        "systemd_limits::an_update_that_fails_changes_nothing",
        "runc keeps what it set before the failure",
    ),
    (
        "systemd_limits::limits_that_runc_does_not_tell_systemd_last_too",
        "runc does not send all of them to systemd",
    ),
    (
        "systemd_limits::the_usage_is_checked_before_systemd_hears_of_the_limit",
        "runc 1.1 does not check it",
    ),
    (
        "update::a_pids_limit_of_0_in_a_file_is_read_by_the_containers_version",
        "runc does not look at the version",
    ),
    ("update::a_pids_limit_of_0_leaves_one_process", "in runc 1.1, 0 is no limit"),
    ("update::a_weight_of_an_idle_container_is_ignored_with_a_warning", "runc fails"),
    ("update::all_or_nothing", "runc keeps what it set before the failure"),
    ("update::all_or_nothing_on_v2", "runc keeps what it set before the failure"),
    (
        "update::blkio_weight_is_written",
        "runc ignores a weight if there is no file for it, which depends on the machine",
    ),
    ("update::cpu_burst_and_idle", "runc 1.1 does not have these flags"),
    ("update::flags_besides_a_file_are_refused", "runc ignores them"),
    (
        "update::keys_that_are_ignored_are_told",
        "runc accepts keys in any letter case, and does not warn",
    ),
    (
        "update::the_mistake_in_a_file_is_located",
        "runc's error names Go types, and runc reads only the first object",
    ),
    (
        "update::without_limits_before_there_are_none_after_a_failure",
        "runc keeps what it set before the failure",
    ),
];
