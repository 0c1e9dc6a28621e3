//! The root filesystem: mounts, devices, masked paths.

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    (
        "devices::a_device_without_a_path_is_refused",
        "runc 1.1 makes it in the root directory or ignores it",
    ),
    (
        "devices::a_different_file_in_the_place_of_a_device_is_refused",
        "runc accepts any file that is there",
    ),
    (
        "devices::a_directory_of_the_host_keeps_its_nodes",
        "runc makes nodes in the host's directory",
    ),
    ("devices::a_node_that_is_there_is_given_its_mode_and_owner", "runc does not change the node"),
    ("devices::a_read_only_rootfs_with_a_complete_dev_will_do", "runc always removes ptmx"),
    (
        "devices::another_device_or_a_link_in_the_place_of_a_device_is_refused",
        "runc accepts any file that is there",
    ),
    (
        "devices::bound_devices_are_private_and_without_rights",
        "runc's mounts are slaves of the host's mount",
    ),
    ("devices::nothing_is_made_in_a_directory_of_the_host", "runc makes them there"),
    (
        "devices::nothing_is_made_in_what_is_mounted_in_a_directory_of_the_host",
        "runc makes them there",
    ),
    (
        "devices::numbers_that_the_kernel_does_not_have_are_refused",
        "runc 1.1 makes a different device",
    ),
    (
        "devices::what_mounts_have_put_in_the_place_of_a_device_stays_without_root",
        "runc opens /dev/tty, which fails without a terminal",
    ),
    ("idmapped_mounts::a_file_can_be_mapped", "runc 1.1 has no id-mapped mounts"),
    (
        "idmapped_mounts::a_filesystem_that_cannot_map_is_refused_by_name",
        "runc 1.1 has no id-mapped mounts",
    ),
    (
        "idmapped_mounts::a_joined_user_namespace_can_be_the_mapping",
        "runc 1.1 has no id-mapped mounts",
    ),
    (
        "idmapped_mounts::a_mapped_mount_keeps_what_its_source_has",
        "runc 1.1 has no id-mapped mounts",
    ),
    (
        "idmapped_mounts::a_mount_in_a_user_namespace_can_have_a_mapping_of_its_own",
        "runc 1.1 has no id-mapped mounts",
    ),
    (
        "idmapped_mounts::a_source_that_only_the_host_may_open_is_mapped",
        "runc 1.1 has no id-mapped mounts",
    ),
    ("idmapped_mounts::idmap_without_any_mapping_is_refused", "runc 1.1 has no id-mapped mounts"),
    (
        "idmapped_mounts::in_a_user_namespace_the_owners_are_those_of_the_disk",
        "runc 1.1 has no id-mapped mounts",
    ),
    ("idmapped_mounts::many_mounts_have_their_mappings", "runc 1.1 has no id-mapped mounts"),
    (
        "idmapped_mounts::mappings_of_what_is_no_mount_of_its_own_are_refused",
        "runc 1.1 has no id-mapped mounts",
    ),
    (
        "idmapped_mounts::one_mapping_without_the_other_is_refused",
        "runc 1.1 has no id-mapped mounts",
    ),
    ("idmapped_mounts::only_ridmap_reaches_submounts", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::owners_are_shown_through_the_mapping", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::several_ranges_make_one_mapping", "runc 1.1 has no id-mapped mounts"),
    (
        "idmapped_mounts::the_source_of_a_mapped_mount_may_be_an_earlier_mount",
        "runc 1.1 has no id-mapped mounts",
    ),
    ("idmapped_mounts::what_is_no_mapping_is_refused", "runc 1.1 has no id-mapped mounts"),
    (
        "idmapped_mounts::what_the_source_of_a_mapped_mount_has_is_not_taken_away",
        "runc names the kernel's flags instead of the options",
    ),
    (
        "masked_paths::a_path_that_is_listed_twice_is_mounted_once",
        "runc mounts a read-only path as often as it is listed",
    ),
    ("masked_paths::relative_paths_are_refused", "runc takes them as relative to the root"),
    (
        "masked_paths::the_mask_of_a_file_is_a_private_mount_without_rights",
        "runc's mask is writable and not noexec",
    ),
    (
        "masked_paths::the_root_can_be_a_readonly_path_however_it_is_written",
        "in runc exec has a different root than init, and it is writable",
    ),
    (
        "masked_paths::the_root_can_be_a_readonly_path_in_a_user_namespace",
        "in runc exec has a different root than init, and it is writable",
    ),
    (
        "masked_paths::the_root_cannot_be_a_masked_path",
        "runc covers the root with an empty directory",
    ),
    (
        "mount_destinations::a_link_to_the_root_is_no_destination",
        "runc has another error text, and 1.1 mounts there",
    ),
    ("mount_destinations::a_symlinked_dev_does_not_touch_the_host", "runc 1.1 has CVE-2026-41579"),
    (
        "mount_destinations::the_rootfs_in_front_of_a_destination_is_left_out",
        "runc 1.1 requires that the mount point exists",
    ),
    (
        "mount_options::a_bind_mount_that_clears_attributes_has_no_others",
        "runc 1.1 considers only the attributes that are set",
    ),
    ("mount_options::atime_takes_noatime_off_a_bind_mount", "runc keeps noatime"),
    ("mount_options::defaults_means_nothing_special", "runc 1.1 does not know the option"),
    (
        "mount_options::recursive_access_time_modes_are_cleared_in_submounts",
        "runc clears only a part of the access time mode, which the kernel refuses",
    ),
    ("mounts::a_bind_mount_with_filesystem_options_is_refused", "runc 1.1 ignores them"),
    ("mounts::a_comma_that_the_kernel_would_misread_is_refused", "runc passes it to the kernel"),
    (
        "mounts::options_may_have_spaces_and_commas",
        "runc passes one string to the kernel, in which a comma begins the next option",
    ),
    ("mounts::options_of_a_v1_cgroup_mount_are_refused", "runc ignores them"),
    (
        "mounts::recursive_options_of_a_cgroup_mount_are_in_force",
        "runc 1.1 ignores them on cgroup v1",
    ),
    ("mounts::tmpcopyup_is_for_tmpfs_only", "runc ignores it on other filesystems"),
    ("mounts::tmpfs_takes_size_and_mode", "runc 1.1 replaces the option's mode by the directory's"),
    (
        "root::propagation_shared_and_rshared_make_the_root_shared",
        "runc 1.1 sets it before pivot_root",
    ),
    ("root::propagation_slave_and_rslave_make_the_root_a_slave", "runc 1.1 makes the root private"),
    (
        "root::propagation_unbindable_and_runbindable_make_the_root_unbindable",
        "runc 1.1 sets it before pivot_root",
    ),
    (
        "root::what_the_host_mounts_below_the_rootfs_later_stays_outside",
        "in runc, mounts below the rootfs stay slaves of the host's",
    ),
    (
        "root::without_a_mount_namespace_the_host_keeps_its_propagation",
        "runc needs a /proc in the rootfs",
    ),
];
