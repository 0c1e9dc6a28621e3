//! Tests of `linux.netDevices`, which runc 1.1 does not have.

/// Sorted by name.
pub const TESTS: &[&str] = &[
    "net_devices::a_container_in_a_user_namespace_gets_its_device",
    "net_devices::a_container_in_the_network_of_the_host_gets_no_device",
    "net_devices::a_create_that_fails_later_brings_the_device_back",
    "net_devices::a_device_gets_another_index_when_its_own_is_taken",
    "net_devices::a_device_is_moved_and_up",
    "net_devices::a_device_is_renamed",
    "net_devices::a_device_that_a_sibling_renamed_comes_back",
    "net_devices::a_device_that_cannot_be_moved_is_refused_and_the_others_come_back",
    "net_devices::a_device_that_does_not_exist_is_refused_and_the_others_stay",
    "net_devices::a_joined_namespace_keeps_the_device_when_the_container_is_gone",
    "net_devices::a_name_that_is_taken_is_refused",
    "net_devices::a_namespace_of_the_containers_own_takes_the_device_along",
    "net_devices::a_template_takes_the_first_number_that_is_free",
    "net_devices::attack_a_device_of_a_sibling_is_not_brought_to_the_host",
    "net_devices::attributes_stay",
    "net_devices::configured_global_addresses_stay",
    "net_devices::only_the_new_name_must_be_free",
    "net_devices::what_is_no_name_is_refused",
    "net_devices_restored::a_container_is_restored_with_its_device",
    "net_devices_restored::a_device_that_the_joined_namespace_has_not_comes_from_the_host",
    "net_devices_restored::a_device_that_the_joined_namespace_has_stays_there",
];
