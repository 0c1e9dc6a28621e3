//! `checkpoint` and `restore`.

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    ("checkpoint::a_hook_that_fails_undoes_the_restore", "runc 1.1 reports only that criu failed"),
    ("checkpoint::exec_has_the_clocks_of_what_was_restored", "runc 1.1 has no time namespaces"),
    ("checkpoint::the_loopback_interface_is_up_again", "runc leaves it down"),
    (
        "checkpoint_flags::a_config_of_criu_that_an_image_may_have_brought_is_refused",
        "runc uses any file that the annotation names",
    ),
    (
        "checkpoint_flags::a_mount_point_that_criu_would_take_for_another_is_refused",
        "runc 1.1 has CVE-2026-119101",
    ),
    (
        "checkpoint_flags::checkpoint_tells_criu_of_its_newer_flags",
        "runc 1.1 does not have these flags",
    ),
    (
        "checkpoint_flags::restore_tells_criu_of_its_newer_flags",
        "runc has no --tcp-close, and 1.1 does not pass on the mode",
    ),
    ("checkpoint_flags::the_error_that_ended_it_is_told", "runc prints only the path of the log"),
    (
        "checkpoint_flags::the_limit_of_a_page_server_is_named",
        "runc prints only the path of the log",
    ),
    (
        "checkpoint_flags::what_is_mounted_from_the_host_has_a_name_that_the_rootfs_has_no_say_in",
        "runc 1.1 has CVE-2026-119101",
    ),
    ("checkpoint_flags::what_is_no_longer_read_only_is_refused", "runc does not check this"),
    ("checkpoint_mounts::a_read_only_root_stays_so", "runc 1.1 restores it writable"),
    ("checkpoint_refused::a_criu_that_is_too_old_is_refused", "runc accepts older versions"),
    (
        "checkpoint_refused::a_sysfs_that_is_the_hosts_is_refused",
        "runc does not run such a container",
    ),
    (
        "checkpoint_refused::mounts_of_what_an_earlier_one_brings_are_refused",
        "runc leaves this to criu",
    ),
];
