//! Where Orlop and runc differ on purpose, or Debian's runc (1.1.5) is too old: the one list of it.
//!
//! A test that starts with `differs!()` is skipped when the runtime under test is runc; its name and the reason stand
//! here. `RUN_DIFFERENCES=1` runs these tests on runc all the same, to see whether they still fail there.

use super::crun_only::TESTS as OF_CRUN;
use super::runtime;

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    (
        "attack_exec::a_container_cannot_look_into_an_init_that_joins_its_namespaces",
        "runc 1.1 cannot join a user namespace without mappings",
    ),
    ("attack_races::dev_stays_inside", "runc 1.1 has CVE-2026-41579"),
    ("attack_races::devices_are_made_inside", "runc 1.1 has CVE-2026-41579, and loses the race now and then"),
    ("attack_races::masks_are_the_hosts_null", "runc 1.1 has CVE-2025-31133"),
    ("attack_races::mounts_stay_inside", "runc 1.1 has CVE-2024-45310"),
    ("attack_races::no_device_is_copied_up", "runc 1.1 opens what may be a device by now"),
    (
        "attack_size::cgroups_that_a_container_has_nested_deep_are_removed",
        "runc finds cgroups by their paths, and leaves what is too deep for one",
    ),
    ("attack_symlinks::a_sysctl_is_not_written_to_the_image", "runc writes to whatever is at /proc in the container"),
    (
        "attack_symlinks::fifos_and_sockets_in_the_place_of_files_do_no_harm",
        "runc opens /etc/passwd whatever it is, and waits",
    ),
    ("attack_symlinks::links_are_copied_as_links", "runc copies no fifos"),
    ("attack_symlinks::no_device_in_the_place_of_passwd_is_opened", "runc 1.1 opens /etc/passwd whatever it is"),
    ("attack_symlinks::no_way_of_writing_it_mounts_over_proc", "runc 1.1 does not see through a link to /proc"),
    ("attack_symlinks::places_of_mounts_and_devices_may_be_links", "runc 1.1 has CVE-2026-41579"),
    ("attack_symlinks::the_images_null_is_nobodys", "runc 1.1 has CVE-2025-31133"),
    ("bad_input::another_major_version_of_the_specification_is_refused", "runc does not look at the version"),
    ("capabilities::what_one_set_keeps_from_another_is_a_warning", "runc 1.1 fails, or says nothing"),
    ("cgroup::a_cgroup_with_processes_in_it_is_refused", "runc 1.1 only warns"),
    ("cgroup::all_processes_die_with_the_container_on_v2", "runc 1.1 gives up on dying processes"),
    (
        "cgroup::the_processes_of_a_threaded_cgroup_are_the_containers_on_v2",
        "runc refuses a cgroup that is threaded already, as it cannot list its processes",
    ),
    ("check::a_cgroup_that_is_in_use_is_a_problem", "runc has no check"),
    ("check::a_check_changes_nothing", "runc has no check"),
    ("check::a_controller_that_is_not_there_is_a_problem", "runc has no check"),
    ("check::all_problems_are_found_at_once", "runc has no check"),
    ("check::an_ordinary_user_may_check", "runc has no check"),
    ("check::each_problem_is_found_and_is_the_one_of_create", "runc has no check"),
    ("check::several_problems_of_one_object_are_told_one_by_one", "runc has no check"),
    ("check::the_default_bundle_has_no_problems", "runc has no check"),
    ("check::what_cannot_be_known_is_not_told", "runc has no check"),
    ("check::what_is_no_config_is_one_problem", "runc has no check"),
    ("check::what_the_machine_lacks_is_a_problem", "runc has no check"),
    ("checkpoint::a_hook_that_fails_undoes_the_restore", "runc 1.1 says only that criu failed"),
    ("checkpoint::exec_has_the_clocks_of_what_was_restored", "runc 1.1 has no time namespaces"),
    ("checkpoint::the_loopback_interface_is_up_again", "runc leaves it down"),
    ("checkpoint_flags::a_mount_point_that_criu_would_take_for_another_is_refused", "runc 1.1 has CVE-2026-119101"),
    ("checkpoint_flags::checkpoint_tells_criu_of_its_newer_flags", "runc 1.1 is older"),
    (
        "checkpoint_flags::criu_is_asked_with_the_rootfs_in_place_and_nothing_of_it_is_left",
        "runc 1.1 leaves the cgroup",
    ),
    (
        "checkpoint_flags::restore_tells_criu_of_its_newer_flags",
        "runc has no --tcp-close, and 1.1 does not tell the mode",
    ),
    (
        "checkpoint_flags::what_is_mounted_from_the_host_has_a_name_that_the_rootfs_has_no_say_in",
        "runc 1.1 has CVE-2026-119101",
    ),
    ("checkpoint_flags::what_is_no_longer_read_only_is_refused", "runc does not look"),
    ("checkpoint_mounts::a_read_only_root_stays_so", "runc 1.1 restores it writable"),
    ("checkpoint_refused::a_criu_that_is_too_old_is_refused", "runc takes older ones"),
    ("cli::the_root_directory_is_refused_as_state_root", "runc 1.1 takes any --root"),
    ("cli::usage_errors_are_one_line_and_stand_in_the_log", "runc prints its help"),
    ("concurrency::create_against_delete_by_force", "runc 1.1 has no lock: it is luck"),
    ("concurrency::either_delete_or_start_wins", "runc 1.1 has no lock, and other texts"),
    ("concurrency::exec_against_kill", "runc 1.1 says it in several lines"),
    ("concurrency::of_several_creates_one_wins", "runc 1.1 has no lock, and two may win"),
    ("concurrency::of_several_deletes_one_wins", "runc 1.1 has no lock, and all may win"),
    ("delete::force_kills_all_processes_when_there_is_no_pid_namespace", "runc 1.1 gives up on dying processes"),
    ("devices::a_device_without_a_path_is_refused", "runc 1.1 makes it in the root directory or ignores it"),
    ("devices::a_different_file_in_the_place_of_a_device_is_refused", "runc accepts whatever is there"),
    ("devices::a_node_that_is_there_is_given_its_mode_and_owner", "runc leaves it as it is"),
    ("devices::another_device_or_a_link_in_the_place_of_a_device_is_refused", "runc accepts whatever is there"),
    ("devices::numbers_that_the_kernel_does_not_have_are_refused", "runc makes another device"),
    ("events::all_ends_with_the_container", "runc 1.1 waits for the removal of a v1 cgroup"),
    ("events::pressure_is_shown_where_the_kernel_has_it", "runc 1.1 does not know pressure"),
    ("events::the_stream_needs_no_memory_controller", "runc gives up without one"),
    ("exec::a_container_without_a_mount_namespace_keeps_its_root", "runc runs the program in the root of the host"),
    ("exec::a_time_namespace_is_joined", "runc 1.1 has no time namespaces"),
    ("exec::no_program_runs_without_its_pid_file", "runc writes it when the program runs"),
    (
        "exec_cgroup::a_runtime_that_is_killed_leaves_no_process",
        "runc's process may run the program after its runtime was killed",
    ),
    ("exec_cgroup::a_sub_cgroup_is_one_and_below_the_containers", "runc 1.1 has other texts, or takes the last"),
    ("exec_cgroup::on_v2_the_cgroup_of_init_will_do_elsewhere", "runc 1.1 needs the container's own"),
    ("exec_process::a_user_namespace_is_joined_without_rights_over_the_host", "runc 1.1 tries to remount /proc"),
    ("exec_process::a_user_out_of_range_is_refused", "runc wraps it to another, or takes it as none"),
    ("exec_process::exec_cpu_affinity_is_set", "runc 1.1 does not know the key"),
    ("exec_process::the_config_is_the_one_of_create", "runc reads the bundle again"),
    ("exec_process::the_umask_is_the_containers", "runc 1.1 leaves it as it is"),
    ("faults::a_cgroup_that_has_vanished_stops_nobody", "runc 1.1 cannot list no processes"),
    ("faults::a_fifo_is_never_waited_for", "runc opens whatever is there, and waits"),
    ("faults::a_full_cgroup_of_the_caller_is_an_error", "Go aborts without threads"),
    ("faults::a_full_state_directory_is_said_to_be_full", "runc 1.1 does not always say why"),
    ("faults::a_state_that_cannot_be_read_is_an_error_and_can_be_put_right", "runc says EOF, and not of what"),
    ("faults::without_descriptors_it_is_said_that_there_are_none", "Go aborts without descriptors"),
    ("faults::without_processes_it_is_said_that_there_are_none", "Go aborts without threads"),
    ("features::annotations_that_may_do_harm_are_named", "runc 1.1 does not name them"),
    ("features::claimed_mount_options_are_ours", "runc 1.1 claims options that it hands to the filesystem"),
    ("features::idmapped_mounts_are_claimed", "runc 1.1 has no id-mapped mounts"),
    ("features::what_came_with_version_1_3_is_claimed", "runc 1.1 is older"),
    ("frozen::an_init_that_stays_stopped_is_given_up", "runc waits for ever"),
    ("frozen::no_container_is_made_below_a_frozen_cgroup", "runc waits for ever"),
    ("frozen::no_container_is_made_below_a_frozen_cgroup_of_v2", "runc waits for ever"),
    ("frozen::nothing_is_started_or_run_below_a_frozen_cgroup", "runc waits for ever"),
    ("hook_failures::a_hook_with_a_relative_path_is_refused", "runc looks it up in its own PATH"),
    ("hook_failures::a_poststart_hook_that_fails_fails_start_and_stops_the_container", "runc runs them during create"),
    ("hook_failures::a_poststop_hook_that_fails_is_only_a_warning", "runc 1.1 logs an error and skips the later hooks"),
    ("hook_failures::a_start_container_hook_that_fails_fails_start", "runc only stops the container"),
    ("hook_failures::a_timeout_that_is_not_positive_is_refused", "runc 1.1 takes it as no time at all"),
    ("hooks::a_hook_need_not_read_its_state", "runc takes it for a failure"),
    ("hooks::poststart_hooks_run_after_the_program_has_started", "runc runs them during create"),
    ("hooks::poststart_reads_the_state_running", "runc runs them during create"),
    ("hostname::a_domainname_without_a_uts_namespace_is_refused", "runc 1.1 does not know the key"),
    ("hostname::domainname_is_set_in_the_uts_namespace", "runc 1.1 does not know the key"),
    ("hung::a_create_whose_hook_never_ends_ends_by_force", "runc 1.1 waits with it"),
    ("hung::a_create_whose_hook_never_ends_ends_by_the_kill_of_its_init", "runc 1.1 waits with it"),
    ("hung::a_create_whose_hook_outlives_init_leaves_nothing", "runc 1.1 waits with it"),
    ("hung::a_mount_source_that_hangs_ends_by_force", "runc 1.1 waits with it"),
    ("hung::a_poststart_hook_that_never_ends_holds_up_nobody_else", "runc runs them during create"),
    ("hung::a_process_that_cannot_die_is_named", "runc 1.1 waits with it"),
    ("hung::a_rootfs_that_hangs_holds_up_its_create_alone", "runc 1.1 waits with it"),
    ("hung::a_start_whose_hook_never_ends_ends_by_force", "runc 1.1 waits with it"),
    ("idmapped_mounts::a_file_can_be_mapped", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::a_filesystem_that_cannot_map_is_refused_by_name", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::a_joined_user_namespace_can_be_the_mapping", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::a_missing_source_of_a_mapped_mount_is_refused", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::a_mount_in_a_user_namespace_can_have_a_mapping_of_its_own", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::a_source_that_only_the_host_may_open_is_mapped", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::idmap_without_any_mapping_is_refused", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::in_a_user_namespace_the_owners_are_those_of_the_disk", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::many_mounts_have_their_mappings", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::mappings_of_what_is_no_bind_mount_are_refused", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::one_mapping_without_the_other_is_refused", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::only_ridmap_reaches_submounts", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::owners_are_shown_through_the_mapping", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::propagation_applies_to_mapped_mounts", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::several_ranges_make_one_mapping", "runc 1.1 has no id-mapped mounts"),
    ("idmapped_mounts::what_is_no_mapping_is_refused", "runc 1.1 has no id-mapped mounts"),
    ("image::all_that_follows_goes_to_the_program_beside_ours", "runc knows nothing of images"),
    ("image::the_error_says_what_to_install", "runc knows nothing of images"),
    ("image::without_one_beside_ours_it_is_looked_for_in_path", "runc knows nothing of images"),
    ("intel_rdt::the_schemata_of_the_containers_group_are_in_its_statistics", "runc looks for the group by its config"),
    ("intel_rdt::values_of_the_wrong_type_are_refused", "runc 1.1 does not know all of the keys"),
    ("intel_rdt::without_resctrl_it_is_refused", "runc 1.1 passes it over when it asks for no share"),
    ("kill::kill_kills_all_where_init_takes_nobody_along", "runc 1.1 kills init alone"),
    ("killed::create_leaves_nothing_wherever_it_is_killed", "runc 1.1 forgets what a killed create has made"),
    ("killed::create_with_everything_leaves_nothing_wherever_it_is_killed", "runc 1.1 forgets what it has made"),
    ("killed::delete_leaves_nothing_wherever_it_is_killed", "runc 1.1 has threads, which the tracer does not follow"),
    ("killed::exec_leaves_nothing_wherever_it_is_killed", "runc 1.1 has threads, which the tracer does not follow"),
    ("killed::run_leaves_nothing_wherever_it_is_killed", "runc 1.1 forgets what a killed run has made"),
    ("killed::run_on_v2_leaves_nothing_wherever_it_is_killed", "runc 1.1 forgets what a killed run has made"),
    ("killed::start_leaves_nothing_wherever_it_is_killed", "runc 1.1 has threads, which the tracer does not follow"),
    ("killed::the_id_is_free_again_after_a_killed_create_is_deleted", "runc 1.1 forgets what a killed create has made"),
    ("killed::the_process_in_between_does_not_die_unheard", "runc 1.1 has another"),
    ("labels::a_false_proc_does_not_keep_the_profile_from_the_kernel", "runc 1.1 has CVE-2025-52881"),
    ("limits::a_container_starts_with_512_kib_of_memory", "runc needs twenty times as much"),
    ("limits::a_limit_below_the_usage_is_refused_if_that_is_to_be_checked", "runc 1.1 does not know checkBeforeUpdate"),
    ("limits::limits_are_updated", "runc 1.1 updates some of them only"),
    ("limits::limits_are_updated_on_v2", "runc 1.1 updates some of them only"),
    ("limits::limits_are_updated_with_systemd", "runc 1.1 updates some of them only"),
    ("limits::limits_that_runc_lacks_are_set", "runc 1.1 does not know these, or converts them otherwise"),
    ("limits::limits_that_runc_lacks_are_set_with_systemd", "runc 1.1 does not know these, or converts them otherwise"),
    ("limits::networks_have_classes_and_priorities", "runc looks for cgroup v1 below /sys/fs/cgroup only"),
    ("list::a_state_root_that_is_not_there_is_refused", "runc 1.1 takes any state root for an empty one"),
    ("logging::an_error_has_fields_for_programs", "runc has words only"),
    ("logging::an_error_says_what_to_do_where_we_know", "runc does not"),
    ("logging::debug_tells_how_long_each_phase_took", "runc does not"),
    ("masked_paths::relative_paths_are_refused", "runc takes them as relative to the root"),
    ("memory_policy::bad_policies_are_refused", "runc 1.1 does not know the key"),
    ("memory_policy::every_mode_is_set", "runc 1.1 does not know the key"),
    ("memory_policy::exec_has_the_containers", "runc 1.1 does not know the key"),
    ("memory_policy::flags_are_set", "runc 1.1 does not know the key"),
    ("memory_policy::weighted_interleaving_is_set", "runc 1.1 does not know the key"),
    ("memory_policy::what_the_kernel_refuses_leaves_nothing", "runc 1.1 does not know the key"),
    ("mount_destinations::a_symlinked_dev_does_not_touch_the_host", "runc 1.1 has CVE-2026-41579"),
    ("mount_options::a_bind_mount_that_clears_attributes_has_no_others", "runc 1.1 does not count what is cleared"),
    ("mount_options::defaults_means_nothing_special", "runc 1.1 does not know the option"),
    (
        "mount_options::recursive_access_time_modes_are_cleared_in_submounts",
        "runc clears a part of the access time mode, which the kernel refuses",
    ),
    ("mounts::a_bind_mount_with_filesystem_options_is_refused", "runc 1.1 ignores them"),
    ("mounts::a_comma_that_the_kernel_would_misread_is_refused", "runc hands it on"),
    (
        "mounts::options_may_have_spaces_and_commas",
        "runc gives the kernel one text, in which a comma begins the next option",
    ),
    ("mounts::options_of_a_v1_cgroup_mount_are_refused", "runc ignores them"),
    ("mounts::recursive_options_of_a_cgroup_mount_are_in_force", "runc 1.1 ignores them on cgroup v1"),
    ("mounts::tmpcopyup_is_for_tmpfs_only", "runc ignores it elsewhere"),
    ("mounts::tmpfs_takes_size_and_mode", "runc 1.1 puts the directory's mode over the option's"),
    ("namespaces::a_path_of_another_type_is_refused_for_every_kind", "runc 1.1 has no time namespaces, and says less"),
    ("namespaces::a_time_namespace_is_created", "runc 1.1 has no time namespaces"),
    ("namespaces::a_time_namespace_is_joined", "runc 1.1 has no time namespaces"),
    ("namespaces::time_offsets_shift_the_clocks", "runc 1.1 has no time namespaces"),
    ("namespaces::time_offsets_that_cannot_be_are_refused", "runc 1.1 has no time namespaces"),
    ("namespaces::time_offsets_without_a_time_namespace_are_refused", "runc 1.1 has no time namespaces"),
    ("net_devices::a_container_in_a_user_namespace_gets_its_device", "runc 1.1 has no netDevices"),
    ("net_devices::a_container_in_the_network_of_the_host_gets_no_device", "runc 1.1 has no netDevices"),
    ("net_devices::a_create_that_fails_later_brings_the_device_back", "runc 1.1 has no netDevices"),
    ("net_devices::a_device_is_moved_and_up", "runc 1.1 has no netDevices"),
    ("net_devices::a_device_is_renamed", "runc 1.1 has no netDevices"),
    ("net_devices::a_device_that_cannot_be_moved_is_refused_and_the_others_come_back", "runc 1.1 has no netDevices"),
    ("net_devices::a_device_that_does_not_exist_is_refused_and_the_others_stay", "runc 1.1 has no netDevices"),
    ("net_devices::a_joined_namespace_keeps_the_device_when_the_container_is_gone", "runc 1.1 has no netDevices"),
    ("net_devices::a_name_that_is_taken_is_refused", "runc 1.1 has no netDevices"),
    ("net_devices::a_namespace_of_the_containers_own_takes_the_device_along", "runc 1.1 has no netDevices"),
    ("net_devices::a_template_takes_the_first_number_that_is_free", "runc 1.1 has no netDevices"),
    ("net_devices::attributes_stay", "runc 1.1 has no netDevices"),
    ("net_devices::configured_global_addresses_stay", "runc 1.1 has no netDevices"),
    ("net_devices::only_the_new_name_must_be_free", "runc 1.1 has no netDevices"),
    ("net_devices::what_is_no_name_is_refused", "runc 1.1 has no netDevices"),
    ("notify_socket::a_foreground_run_passes_signals_on_before_the_program_is_ready", "runc passes none on until then"),
    ("notify_socket::a_program_that_never_says_so_ends_as_any_other", "runc waits on, in the foreground for ever"),
    ("notify_socket::nobody_at_the_socket_is_an_error_of_start", "runc tells when the program runs already"),
    ("notify_socket::start_waits_for_the_answer_of_the_host", "runc 1.1 asks for none"),
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
    ("personality::exec_has_the_containers", "runc 1.1 does not know the key"),
    ("personality::the_domain_is_set", "runc 1.1 does not know the key"),
    ("personality::unknown_domains_and_flags_are_refused", "runc 1.1 does not know the key"),
    ("pidfd_socket::a_listener_that_hangs_up_is_an_error_and_leaves_nothing", "runc 1.1 does not have the flag"),
    ("pidfd_socket::a_socket_that_is_not_there_is_refused", "runc 1.1 does not have the flag"),
    ("pidfd_socket::create_and_run_send_init", "runc 1.1 does not have the flag"),
    ("pidfd_socket::exec_sends_its_process", "runc 1.1 does not have the flag"),
    ("pidfd_socket::exec_to_a_socket_that_is_not_there_is_refused", "runc 1.1 does not have the flag"),
    ("pidfd_socket::the_path_may_be_long", "runc 1.1 does not have the flag"),
    ("preserve_fds::a_negative_number_of_listen_fds_is_none", "runc 1.1 crashes"),
    ("preserve_fds::a_number_that_is_none_is_refused", "runc takes a negative one for none, and prints its help"),
    ("preserve_fds::hooks_do_not_get_them", "runc 1.1 hands them and its own to hooks in the container"),
    ("preserve_fds::listen_fds_that_are_not_open_are_refused", "runc says only what the kernel said"),
    ("preserve_fds::the_first_that_is_not_open_is_named", "runc takes what it has opened itself for it"),
    ("preserve_fds::the_names_of_listen_fds_reach_the_program", "runc drops them"),
    ("preserve_fds::the_runtime_lets_go_of_them", "runc in the foreground holds them, too"),
    ("preserve_fds::what_we_opened_ourselves_cannot_be_preserved", "runc hands on its own log file"),
    ("rlimits::a_duplicate_limit_is_refused", "runc lets the last one win, which the specification forbids"),
    ("root::propagation_shared_and_rshared_make_the_root_shared", "runc 1.1 sets it before pivot_root"),
    ("root::propagation_slave_and_rslave_make_the_root_a_slave", "runc 1.1 makes the root private"),
    ("root::propagation_unbindable_and_runbindable_make_the_root_unbindable", "runc 1.1 sets it before pivot_root"),
    ("root::without_a_mount_namespace_the_host_keeps_its_propagation", "runc needs a /proc in the rootfs"),
    ("rootless_cgroup::a_controller_that_is_not_delegated_is_named", "runc 1.1 says \"no such file or directory\""),
    ("rootless_cgroup::no_cgroup_and_no_pid_namespace_is_a_warning", "runc 1.1.5 does not warn; newer ones do"),
    ("rootless_cgroup::the_users_systemd_makes_the_cgroup", "an exec of runc 1.1 stays outside of the user's unit"),
    ("run::pid_file_is_gone_when_the_program_does_not_run", "runc leaves it"),
    ("run::run_kills_what_the_program_left_running", "runc 1.1 gives up on dying processes"),
    ("scheduling::a_bad_process_of_exec_is_refused", "runc 1.1 does not know the key"),
    ("scheduling::a_deadline_on_some_of_the_cpus_is_refused", "runc 1.1 does not know the key"),
    ("scheduling::a_realtime_policy_without_the_right_to_it_leaves_nothing", "runc 1.1 does not know the key"),
    ("scheduling::a_user_namespace_and_an_ordinary_user_are_no_obstacle", "runc 1.1 does not know the key"),
    ("scheduling::bad_io_priorities_are_refused", "runc 1.1 does not know the key"),
    ("scheduling::bad_schedulers_are_refused", "runc 1.1 does not know the key"),
    ("scheduling::every_io_priority_is_set", "runc 1.1 does not know the key"),
    ("scheduling::every_policy_is_set", "runc 1.1 does not know the key"),
    ("scheduling::exec_has_the_containers_io_priority_or_its_own", "runc 1.1 does not know the key"),
    ("scheduling::exec_has_the_containers_scheduler_or_its_own", "runc 1.1 does not know the key"),
    ("scheduling::the_cpus_are_not_the_callers", "runc 1.1 hands them on"),
    ("scheduling::the_nice_value_is_set", "runc 1.1 does not know the key"),
    ("seccomp::a_rule_without_names_is_refused", "runc ignores it"),
    ("seccomp::an_unknown_flag_is_refused", "runc 1.1 supports no flags"),
    ("seccomp::errno_ret_without_an_action_that_uses_it_is_refused", "runc ignores it"),
    ("seccomp::flags_are_accepted", "runc 1.1 supports no flags"),
    (
        "seccomp_notify::a_limit_of_one_process_is_too_low_and_said_to_be",
        "runc needs more processes for other reasons, and says nothing of them",
    ),
    (
        "seccomp_notify::a_start_without_the_agent_is_an_error_and_the_program_does_not_run",
        "runc loads the filter in create",
    ),
    ("seccomp_notify::an_allow_list_without_sockets_can_notify", "runc needs calls of its own to be allowed"),
    ("seccomp_notify::calls_of_sockets_threads_and_memory_can_notify", "calls of runc itself are asked about, too"),
    ("seccomp_notify::metadata_without_a_path_is_refused", "runc ignores it, which the specification forbids"),
    ("seccomp_notify::the_agent_is_told_of_the_container_by_start", "runc loads the filter in create"),
    ("seccomp_notify::the_connection_ends_after_one_document", "runc 1.1 keeps it open"),
    ("seccomp_notify::waiting_can_be_made_killable", "runc 1.1 supports no flags"),
    (
        "security::a_fifo_in_the_place_of_a_file_does_not_hang_the_runtime",
        "runc opens /etc/passwd whatever it is, and waits",
    ),
    ("spec::a_link_is_not_followed", "runc writes where a dangling link points"),
    ("systemd::no_unit_is_made_in_a_frozen_slice", "runc waits for ever"),
    (
        "systemd_limits::a_container_that_ceases_to_be_idle_stays_so",
        "runc leaves the unit idle, and 1.1 has no --cpu-idle for it",
    ),
    ("systemd_limits::an_update_that_fails_changes_nothing", "runc keeps what it had set before the failure"),
    (
        "systemd_limits::limits_that_runc_does_not_tell_systemd_last_too",
        "runc tells systemd neither the block weight nor, in 1.1, idle and the OOM group",
    ),
    (
        "systemd_limits::the_usage_is_checked_before_systemd_hears_of_the_limit",
        "runc 1.1 does not know checkBeforeUpdate",
    ),
    ("terminal::a_long_path_leads_to_the_socket", "runc takes paths of up to 107 bytes"),
    ("terminal::a_size_that_no_terminal_has_is_refused", "runc wraps it to another"),
    ("terminal_foreground::who_is_left_behind_does_not_hold_up_the_end", "runc 1.1 gives up on dying processes"),
    ("terminal_names::a_console_that_is_a_link_is_refused", "runc 1.1 follows it, inside the container"),
    ("terminal_names::a_console_that_is_something_else_is_covered", "runc 1.1 empties the file"),
    ("terminal_names::a_dev_that_is_a_link_stays_inside", "runc 1.1 has CVE-2026-41579"),
    ("terminal_names::what_is_mounted_over_the_multiplexer_is_not_opened", "runc 1.1 opens whatever is there"),
    ("terminal_names::without_a_mount_namespace_there_is_no_console", "runc needs a /proc in the rootfs"),
    ("update::all_or_nothing", "runc keeps what was set before the failure"),
    ("update::all_or_nothing_on_v2", "runc keeps what was set before the failure"),
    ("update::blkio_weight_is_written", "runc ignores a weight where there is no file for it"),
    ("update::cpu_burst_and_idle", "runc 1.1 does not have these flags"),
    ("update::flags_besides_a_file_are_refused", "runc ignores them"),
    ("update::the_mistake_in_a_file_is_located", "runc names Go types, and reads no further than the first object"),
    ("update::without_limits_before_there_are_none_after_a_failure", "runc keeps what was set before the failure"),
    ("user_namespace::a_device_that_the_host_does_not_have_is_refused", "runc 1.1 binds whatever has the name"),
    ("user_namespace::a_fifo_is_made", "runc 1.1 binds one of the host"),
    ("user_namespace::a_user_namespace_is_joined_without_mappings", "runc 1.1 needs them"),
    ("user_namespace::joining_with_other_mappings_is_refused", "runc 1.1 does not compare"),
    ("user_namespace::locked_options_are_kept", "runc 1.1 refuses to add options to them"),
    ("user_namespace::locked_options_are_not_taken_away", "runc 1.1 keeps them without a word"),
    ("user_namespace::mappings_without_a_user_namespace_are_refused", "runc 1.1 ignores them"),
    ("user_namespace::stdio_is_nobody_elses_where_the_mappings_are_not_known", "runc 1.1 needs them"),
];

/// runc may print warnings and several errors before it gives up.
pub fn refuses_in_one_line() -> bool {
    !is_runc()
}

/// runc often says only what the kernel said.
pub fn refusals_name_the_key() -> bool {
    !is_runc()
}

/// runc 1.1 does not ask for an answer to what it tells at `NOTIFY_SOCKET`.
pub fn notify_has_a_barrier() -> bool {
    !is_runc()
}

fn is_runc() -> bool {
    runtime::program().file_name().is_some_and(|name| name == "runc")
}

/// Whether to skip the test in which a function of this full name (`crate::module::test::here`) is defined.
#[track_caller]
pub fn skips(function: &str) -> bool {
    let name = function.split("::").skip(1).collect::<Vec<_>>().join("::");
    let name = name.trim_end_matches("::here");
    let of_crun = OF_CRUN.contains(&name).then_some("runc does not have it, crun has");
    let reason = REASONS.iter().find(|(test, _)| *test == name).map(|(_, reason)| *reason);
    let Some(reason) = reason.or(of_crun) else {
        panic!("{name} uses differs!() but is not in tests/support/differences.rs");
    };
    let skip = is_runc() && std::env::var_os("RUN_DIFFERENCES").is_none();
    if skip {
        eprintln!("skipped on runc: {reason}");
    }
    skip
}

/// Every entry belongs to a test that uses it.
#[test]
fn every_difference_is_used() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    needs!(tests.is_dir(), "source tree");
    for name in REASONS.iter().map(|(name, _)| name).chain(OF_CRUN) {
        let (module, test) = name.rsplit_once("::").expect("module::test");
        let path = tests.join(module.replace("::", "/")).with_extension("rs");
        let source = runtime::read(&path);
        let body = source.split(&format!("fn {test}() {{\n")).nth(1).unwrap_or_default();
        assert!(body.trim_start().starts_with("differs!();"), "{name} does not start with differs!()");
    }
    assert!(REASONS.is_sorted() && OF_CRUN.is_sorted(), "the lists are sorted by name");
}
