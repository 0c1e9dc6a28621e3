//! Attacks by an image or a container.

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    (
        "attack_births::nothing_is_found_in_what_create_makes",
        "runc's processes are dumpable on the host",
    ),
    (
        "attack_births::nothing_is_found_in_what_exec_makes",
        "runc's processes are dumpable, and the container can sometimes inspect one",
    ),
    (
        "attack_births::nothing_is_found_in_what_maps_the_ids_of_a_mount",
        "runc 1.1 has no id-mapped mounts",
    ),
    (
        "attack_births::nothing_is_found_in_what_run_makes",
        "runc's processes are dumpable on the host",
    ),
    (
        "attack_exec::a_container_cannot_look_into_an_init_that_joins_its_namespaces",
        "runc 1.1 cannot join a user namespace without mappings",
    ),
    (
        "attack_joins::nothing_is_found_in_what_create_makes_anew",
        "runc's processes are dumpable in a new user namespace",
    ),
    (
        "attack_joins::nothing_is_found_in_what_run_makes_anew",
        "runc's processes are dumpable in a new user namespace",
    ),
    (
        "attack_races::a_procfs_that_is_moved_keeps_its_masks",
        "runc looks up masked paths by name, and sometimes misses them",
    ),
    ("attack_races::dev_stays_inside", "runc 1.1 has CVE-2026-41579, and sometimes loses the race"),
    (
        "attack_races::devices_are_made_inside",
        "runc 1.1 has CVE-2026-41579, and sometimes loses the race",
    ),
    (
        "attack_races::masks_are_the_hosts_null",
        "runc 1.1 has CVE-2025-31133, and sometimes loses the race",
    ),
    (
        "attack_races::mounts_stay_inside",
        "runc 1.1 has CVE-2024-45310, and sometimes loses the race",
    ),
    (
        "attack_races::no_device_is_copied_up",
        "runc 1.1 opens a file that has sometimes become a device",
    ),
    (
        "attack_seal::an_overlay_of_the_host_is_not_taken_for_a_seal",
        "runc 1.1 runs from a read-only mount of its binary",
    ),
    (
        "attack_seal::the_program_is_on_no_filesystem_of_the_host",
        "runc 1.1 runs from a read-only mount of its binary",
    ),
    (
        "attack_size::cgroups_that_a_container_has_nested_deep_are_removed",
        "runc removes cgroups by path, and leaves those whose path is too long",
    ),
    (
        "attack_symlinks::a_sysctl_is_not_written_to_the_image",
        "runc writes to any file that is at /proc in the container",
    ),
    (
        "attack_symlinks::fifos_and_sockets_in_the_place_of_files_do_no_harm",
        "runc opens /etc/passwd without checking its type, and waits",
    ),
    ("attack_symlinks::links_are_copied_as_links", "runc does not copy fifos"),
    (
        "attack_symlinks::no_device_in_the_place_of_passwd_is_opened",
        "runc 1.1 opens /etc/passwd without checking its type",
    ),
    (
        "attack_symlinks::no_way_of_writing_it_mounts_over_proc",
        "runc 1.1 does not recognise /proc through a link",
    ),
    ("attack_symlinks::places_of_mounts_and_devices_may_be_links", "runc 1.1 has CVE-2026-41579"),
    ("attack_symlinks::the_images_null_is_nobodys", "runc 1.1 has CVE-2025-31133"),
    (
        "security::a_fifo_in_the_place_of_a_file_does_not_hang_the_runtime",
        "runc opens the fifo, and waits",
    ),
];
