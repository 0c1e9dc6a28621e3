//! The verbs, their errors, and runtimes that are killed or blocked.

/// Test name and reason, sorted by name.
pub const REASONS: &[(&str, &str)] = &[
    (
        "bad_input::another_major_version_of_the_specification_is_refused",
        "runc does not check the version",
    ),
    ("check::a_cgroup_that_is_in_use_is_a_problem", "runc has no check"),
    ("check::a_check_changes_nothing", "runc has no check"),
    ("check::a_controller_that_is_not_there_is_a_problem", "runc has no check"),
    ("check::a_source_that_an_earlier_mount_brings_along_is_no_problem", "runc has no check"),
    ("check::all_problems_are_found_at_once", "runc has no check"),
    ("check::an_ordinary_user_may_check", "runc has no check"),
    ("check::each_problem_is_found_and_is_the_one_of_create", "runc has no check"),
    ("check::several_problems_of_one_object_are_told_one_by_one", "runc has no check"),
    ("check::the_default_bundle_has_no_problems", "runc has no check"),
    ("check::what_cannot_be_known_is_not_told", "runc has no check"),
    ("check::what_is_no_config_is_one_problem", "runc has no check"),
    ("check::what_the_machine_lacks_is_a_problem", "runc has no check"),
    ("cli::the_root_directory_is_refused_as_state_root", "runc 1.1 accepts any --root"),
    ("cli::usage_errors_are_one_line_and_stand_in_the_log", "runc prints its help"),
    (
        "concurrency::create_against_delete_by_force",
        "runc 1.1 has no lock, so it sometimes leaves something behind",
    ),
    ("concurrency::either_delete_or_start_wins", "runc 1.1 has no lock, and has other error texts"),
    ("concurrency::exec_against_kill", "runc 1.1 prints several lines"),
    ("concurrency::of_several_creates_one_wins", "runc 1.1 has no lock, so two sometimes succeed"),
    ("concurrency::of_several_deletes_one_wins", "runc 1.1 has no lock, so all sometimes succeed"),
    (
        "concurrency::whoever_looks_meanwhile_sees_a_state",
        "runc 1.1 has no lock, so the cgroup sometimes vanishes while it is read",
    ),
    (
        "delete::force_kills_all_processes_when_there_is_no_pid_namespace",
        "runc 1.1 sometimes gives up before all processes are dead",
    ),
    (
        "faults::a_cgroup_that_has_vanished_stops_nobody",
        "runc 1.1 cannot list processes if the cgroup is missing",
    ),
    (
        "faults::a_fifo_is_never_waited_for",
        "runc opens the file without checking its type, and waits",
    ),
    (
        "faults::a_full_cgroup_of_the_caller_is_an_error",
        "the Go runtime aborts if it cannot make a thread",
    ),
    (
        "faults::a_full_state_directory_is_said_to_be_full",
        "runc 1.1 does not always report the reason",
    ),
    (
        "faults::a_state_that_cannot_be_read_is_an_error_and_can_be_put_right",
        "runc reports EOF without the name of the file",
    ),
    (
        "faults::without_descriptors_it_is_said_that_there_are_none",
        "the Go runtime aborts without descriptors",
    ),
    (
        "faults::without_processes_it_is_said_that_there_are_none",
        "the Go runtime aborts if it cannot make a thread",
    ),
    ("features::annotations_that_may_do_harm_are_named", "runc 1.1 does not list them"),
    (
        "features::claimed_mount_options_are_ours",
        "runc 1.1 lists options that it passes on to the filesystem",
    ),
    ("features::idmapped_mounts_are_claimed", "runc 1.1 has no id-mapped mounts"),
    ("features::what_came_with_version_1_3_is_claimed", "runc 1.1 is older than version 1.3"),
    ("hung::a_create_whose_hook_never_ends_ends_by_force", "runc 1.1 waits, too"),
    ("hung::a_create_whose_hook_never_ends_ends_by_the_kill_of_its_init", "runc 1.1 waits, too"),
    ("hung::a_create_whose_hook_outlives_init_leaves_nothing", "runc 1.1 waits, too"),
    ("hung::a_mount_source_that_hangs_ends_by_force", "runc 1.1 waits, too"),
    (
        "hung::a_poststart_hook_that_never_ends_holds_up_nobody_else",
        "runc runs poststart hooks during create",
    ),
    ("hung::a_process_that_cannot_die_is_named", "runc 1.1 waits, too"),
    ("hung::a_rootfs_that_hangs_holds_up_its_create_alone", "runc 1.1 waits, too"),
    ("hung::a_start_whose_hook_never_ends_ends_by_force", "runc 1.1 waits, too"),
    ("image::all_that_follows_goes_to_the_program_beside_ours", "runc has no image command"),
    ("image::the_error_says_what_to_install", "runc has no image command"),
    ("image::without_one_beside_ours_it_is_looked_for_in_path", "runc has no image command"),
    ("kill::kill_kills_all_where_init_takes_nobody_along", "runc 1.1 kills only init"),
    (
        "killed::create_leaves_nothing_wherever_it_is_killed",
        "runc 1.1 leaves behind what a killed create has made",
    ),
    (
        "killed::create_with_everything_leaves_nothing_wherever_it_is_killed",
        "runc 1.1 leaves behind what a killed create has made",
    ),
    (
        "killed::delete_leaves_nothing_wherever_it_is_killed",
        "runc 1.1 has several threads, which the test's tracer does not follow",
    ),
    (
        "killed::exec_leaves_nothing_wherever_it_is_killed",
        "runc 1.1 has several threads, which the test's tracer does not follow",
    ),
    (
        "killed::run_leaves_nothing_wherever_it_is_killed",
        "runc 1.1 leaves behind what a killed run has made",
    ),
    (
        "killed::run_on_v2_leaves_nothing_wherever_it_is_killed",
        "runc 1.1 leaves behind what a killed run has made",
    ),
    (
        "killed::start_leaves_nothing_wherever_it_is_killed",
        "runc 1.1 has several threads, which the test's tracer does not follow",
    ),
    (
        "killed::the_id_is_free_again_after_a_killed_create_is_deleted",
        "runc 1.1 leaves behind what a killed create has made",
    ),
    (
        "killed::the_process_in_between_does_not_die_unheard",
        "runc 1.1 has a different process there",
    ),
    (
        "list::a_state_root_that_is_not_there_is_refused",
        "runc 1.1 treats a missing state root as an empty one",
    ),
    ("logging::an_error_has_fields_for_programs", "runc's errors have only a text"),
    ("logging::an_error_says_what_to_do_where_we_know", "runc's errors have no hints"),
    ("logging::debug_tells_how_long_each_phase_took", "runc does not print times"),
    ("run::pid_file_is_gone_when_the_program_does_not_run", "runc does not remove the file"),
    (
        "run::run_kills_what_the_program_left_running",
        "runc 1.1 sometimes gives up before all processes are dead",
    ),
    ("spec::a_link_is_not_followed", "runc writes where a dangling link points"),
    ("state_root::a_state_root_of_another_user_is_refused", "runc does not check owners"),
    ("state_root::a_state_root_that_others_may_write_to_is_refused", "runc does not check owners"),
    ("state_root::what_others_may_write_below_it_is_refused", "runc does not check owners"),
    ("versions::a_container_of_0_1_0_is_looked_after", "runc's state.json has a different format"),
];
