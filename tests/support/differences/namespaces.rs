//! Namespaces: ids, host name, clocks, network devices.

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    ("hostname::a_domainname_without_a_uts_namespace_is_refused", "runc 1.1 does not know the key"),
    ("hostname::domainname_is_set_in_the_uts_namespace", "runc 1.1 does not know the key"),
    (
        "namespaces::a_path_of_another_type_is_refused_for_every_kind",
        "runc 1.1 has no time namespaces, and its errors say less",
    ),
    ("namespaces::a_time_namespace_is_created", "runc 1.1 has no time namespaces"),
    ("namespaces::a_time_namespace_is_joined", "runc 1.1 has no time namespaces"),
    (
        "namespaces::mounts_without_a_mount_namespace_are_refused",
        "runc mounts on the host, and does not unmount",
    ),
    ("namespaces::time_offsets_shift_the_clocks", "runc 1.1 has no time namespaces"),
    ("namespaces::time_offsets_that_cannot_be_are_refused", "runc 1.1 has no time namespaces"),
    (
        "namespaces::time_offsets_without_a_time_namespace_are_refused",
        "runc 1.1 has no time namespaces",
    ),
    ("net_devices::a_container_in_a_user_namespace_gets_its_device", "runc 1.1 has no netDevices"),
    (
        "net_devices::a_container_in_the_network_of_the_host_gets_no_device",
        "runc 1.1 has no netDevices",
    ),
    ("net_devices::a_create_that_fails_later_brings_the_device_back", "runc 1.1 has no netDevices"),
    (
        "net_devices::a_device_gets_another_index_when_its_own_is_taken",
        "runc 1.1 has no netDevices",
    ),
    ("net_devices::a_device_is_moved_and_up", "runc 1.1 has no netDevices"),
    ("net_devices::a_device_is_renamed", "runc 1.1 has no netDevices"),
    ("net_devices::a_device_that_a_sibling_renamed_comes_back", "runc 1.1 has no netDevices"),
    (
        "net_devices::a_device_that_cannot_be_moved_is_refused_and_the_others_come_back",
        "runc 1.1 has no netDevices",
    ),
    (
        "net_devices::a_device_that_does_not_exist_is_refused_and_the_others_stay",
        "runc 1.1 has no netDevices",
    ),
    (
        "net_devices::a_joined_namespace_keeps_the_device_when_the_container_is_gone",
        "runc 1.1 has no netDevices",
    ),
    ("net_devices::a_name_that_is_taken_is_refused", "runc 1.1 has no netDevices"),
    (
        "net_devices::a_namespace_of_the_containers_own_takes_the_device_along",
        "runc 1.1 has no netDevices",
    ),
    ("net_devices::a_template_takes_the_first_number_that_is_free", "runc 1.1 has no netDevices"),
    (
        "net_devices::attack_a_device_of_a_sibling_is_not_brought_to_the_host",
        "runc 1.1 has no netDevices",
    ),
    ("net_devices::attributes_stay", "runc 1.1 has no netDevices"),
    ("net_devices::configured_global_addresses_stay", "runc 1.1 has no netDevices"),
    ("net_devices::only_the_new_name_must_be_free", "runc 1.1 has no netDevices"),
    ("net_devices::what_is_no_name_is_refused", "runc 1.1 has no netDevices"),
    ("net_devices_restored::a_container_is_restored_with_its_device", "runc 1.1 has no netDevices"),
    (
        "net_devices_restored::a_device_that_the_joined_namespace_has_not_comes_from_the_host",
        "runc 1.1 has no netDevices",
    ),
    (
        "rootless_births::an_ordinary_user_may_set_the_clocks_of_a_new_time_namespace",
        "runc 1.1 has no time namespaces",
    ),
    (
        "rootless_births::init_in_a_joined_user_namespace_cannot_be_entered_before_it_runs",
        "runc 1.1 cannot join a user namespace without mappings",
    ),
    ("sysctl::a_domain_name_beside_another_one_is_refused", "runc 1.1 has no domainname"),
    (
        "sysctl::the_domain_name_is_set_in_a_user_namespace",
        "runc writes to the file, which root of a user namespace is not allowed to do",
    ),
    (
        "user_namespace::a_configured_device_has_its_own_name_mode_and_owner",
        "runc bind-mounts the host's file of that name",
    ),
    (
        "user_namespace::a_configured_device_is_found_by_its_number",
        "runc bind-mounts the host's file of that name",
    ),
    ("user_namespace::a_fifo_is_made", "runc 1.1 bind-mounts a fifo of the host"),
    (
        "user_namespace::a_remount_keeps_locked_options",
        "runc remounts only with the options of the config, and the kernel refuses this",
    ),
    ("user_namespace::a_user_namespace_is_joined_without_mappings", "runc 1.1 requires mappings"),
    (
        "user_namespace::joining_with_other_mappings_is_refused",
        "runc 1.1 does not compare the mappings",
    ),
    ("user_namespace::locked_options_are_kept", "runc 1.1 refuses to add options to them"),
    ("user_namespace::locked_options_are_not_taken_away", "runc 1.1 keeps them without an error"),
    ("user_namespace::mappings_without_a_user_namespace_are_refused", "runc 1.1 ignores them"),
    (
        "user_namespace::stdio_is_nobody_elses_where_the_mappings_are_not_known",
        "runc 1.1 requires mappings",
    ),
    (
        "user_namespace::the_source_of_a_bind_mount_may_be_an_earlier_mount",
        "runc 1.1 opens all sources first, and newer versions cannot enter the directory of this rootfs",
    ),
    ("user_namespace::the_sysfs_of_the_hosts_network_is_the_hosts", "runc refuses it"),
];
