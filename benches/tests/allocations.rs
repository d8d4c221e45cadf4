//! No packet costs an allocation, accepted or not.

use vrrp_benches::{Repeat, codec, fsm::Step, ipvs};

#[track_caller]
fn assert_allocates_nothing(name: &str, mut work: Repeat) {
    let allocations = allocation_counter::measure(|| work(1000));
    assert_eq!(allocations.count_total, 0, "{name}");
}

#[test]
fn the_count_counts() {
    let mut work = vrrp_benches::repeat(1_u8, |octet| Box::new(*octet));
    assert_eq!(allocation_counter::measure(|| work(1000)).count_total, 1000);
}

#[test]
fn reading_and_writing_a_message_allocates_nothing() {
    for message in codec::messages().unwrap() {
        assert_allocates_nothing(message.name, message.decode());
        assert_allocates_nothing(message.name, message.encode());
        assert_allocates_nothing(message.name, message.set_priority());
    }
}

#[test]
fn reading_and_writing_a_message_of_ipvs_allocates_nothing() {
    for sample in ipvs::codec::samples().unwrap() {
        assert_allocates_nothing(sample.name, sample.decode());
        assert_allocates_nothing(sample.name, sample.encode());
    }
}

#[test]
fn a_step_of_the_state_machine_allocates_nothing() {
    for message in codec::messages().unwrap() {
        let step = Step::new(message).unwrap();
        assert_allocates_nothing(message.name, step.backup_receives_active());
        assert_allocates_nothing(message.name, step.active_advertises());
        assert_allocates_nothing(message.name, step.check());
        assert_allocates_nothing(message.name, step.whole_path());
    }
}
