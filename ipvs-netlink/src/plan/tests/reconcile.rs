use super::*;
use crate::NoAnswer;

#[test]
fn a_change_refused_for_good_is_reported_and_the_others_are_made() {
    let mut kernel = Kernel::default();
    let mut desired = [of(web(1), &[1]), of(web(2), &[1])];
    desired[0].service.scheduler = Scheduler::new("nope").unwrap();
    let report = quietly(&mut kernel, &desired, AT_ONCE);
    assert_eq!(kernel.servers(), desired[1..]);
    assert_eq!(report.failed.len(), 1);
    assert_eq!(
        report.failed[0].step.change,
        Change::AddService(desired[0].service)
    );
    assert!(!report.is_complete() && !report.contended);
}

#[test]
fn a_table_that_may_be_incomplete_is_reported() {
    let mut work = begin(&[], AT_ONCE);
    work.handle_table(&Table {
        may_be_incomplete: true,
        ..Table::default()
    });
    let Next::Done(report) = work.next() else {
        panic!("nothing to do")
    };
    assert!(report.may_be_incomplete && !report.is_complete());
}

#[test]
fn absence_from_a_list_is_a_suspicion_and_no_more() {
    // The service was left out of the list: adding it fails, and the next list has it.
    let desired = [of(web(1), &[1])];
    let kernel = Kernel::of(&desired);
    let mut work = begin(&desired, AT_ONCE);
    work.handle_table(&Table {
        may_be_incomplete: true,
        ..Table::default()
    });
    let Next::Apply(changes) = work.next() else {
        panic!("something to do")
    };
    let mut copy = kernel.clone();
    work.handle_results(
        changes
            .into_iter()
            .map(|change| copy.apply(change))
            .collect(),
    );
    assert_eq!(work.next(), Next::Read);
    work.handle_table(&copy.table());
    let Next::Done(report) = work.next() else {
        panic!("nothing to do")
    };
    assert!(report.is_complete());
    assert_eq!(copy, kernel);
}

#[test]
fn a_program_that_undoes_everything_ends_the_work_with_a_word() {
    let mut kernel = Kernel::default();
    let desired = [of(web(1), &[1])];
    let work = begin(&desired, AT_ONCE);
    let report = reconcile(&mut kernel, work, |kernel| kernel.services.clear(), |_| {});
    assert!(report.contended);
}

#[test]
fn the_old_servers_stay_while_all_the_new_ones_are_refused() {
    let before = [of(web(1), &[1, 2]), of(web(2), &[1, 2])];
    let mut kernel = Kernel::of(&before);
    kernel.refused.extend([server(3).key, server(4).key]);
    let desired = [of(web(1), &[3, 4]), of(web(2), &[3, 5])];
    let report = quietly(&mut kernel, &desired, AT_ONCE);
    assert_eq!(kernel.servers(), [of(web(1), &[1, 2]), of(web(2), &[5])]);
    assert_eq!(report.failed.len(), 3);
    let held_back: Vec<_> = report.held_back.iter().map(ToString::to_string).collect();
    assert_eq!(
        held_back,
        [
            "delete destination 10.0.0.1:80 of tcp 192.0.2.1:80 (no longer wanted)",
            "delete destination 10.0.0.2:80 of tcp 192.0.2.1:80 (no longer wanted)",
        ]
    );
    kernel.refused.clear();
    let report = quietly(&mut kernel, &desired, AT_ONCE);
    assert!(report.is_complete() && report.held_back.is_empty());
    assert_eq!(kernel.servers(), desired);
}

#[test]
fn a_refused_destination_does_not_stop_the_others_of_its_service() {
    let mut kernel = Kernel::of(&[of(web(1), &[])]);
    kernel.refused.insert(server(1).key);
    let desired = [of(web(1), &[1, 2])];
    let work = begin(&desired, AT_ONCE);
    // Another program adds the second with another weight at the last moment.
    let mut theirs = Some(Destination {
        weight: 7.into(),
        ..server(2)
    });
    let foreign = |kernel: &mut Kernel| {
        if let Some(destination) = theirs.take() {
            let change = Change::AddDestination {
                service: web(1),
                destination,
            };
            kernel.apply(change).unwrap();
        }
    };
    let report = reconcile(&mut kernel, work, foreign, |_| {});
    assert_eq!(kernel.servers(), [of(web(1), &[2])]);
    assert_eq!(report.failed.len(), 1);
    assert!(!report.contended);
}

#[test]
fn an_unreadable_object_gets_the_wanted_settings() {
    let wanted = [of(web(1), &[1, 2]), of(web(2), &[1])];
    let mut kernel = Kernel::of(&[of(web(1), &[1, 3]), of(web(2), &[1, 2])]);
    kernel.unreadable.insert((web(1), Some(server(1).key)));
    kernel.unreadable.insert((web(2), None));
    let report = quietly(&mut kernel, &wanted, AT_ONCE);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(kernel.servers(), wanted);
}

#[test]
fn an_object_that_every_list_leaves_out_is_written_once() {
    let wanted = [of(web(1), &[1, 2])];
    let mut kernel = Kernel::of(&wanted);
    kernel
        .apply(Change::UpdateDestination {
            service: web(1),
            destination: Destination {
                weight: 9.into(),
                ..server(1)
            },
        })
        .unwrap();
    kernel.left_out.insert((web(1), Some(server(1).key)));
    let report = quietly(&mut kernel, &wanted, AT_ONCE);
    assert!(report.may_be_incomplete && !report.contended);
    assert_eq!(report.applied.len(), 1);
    kernel.left_out.clear();
    assert_eq!(kernel.servers(), wanted);
}

#[test]
fn where_answers_fail_to_come_the_table_is_read_before_anything_is_taken_away() {
    let desired = [of(web(1), &[2])];
    let kernel = Kernel::of(&[of(web(1), &[1])]);
    let added = Change::AddDestination {
        service: web(1),
        destination: server(2),
    };
    let silence = Error::Unanswered {
        request: Box::new(added.into()),
        cause: NoAnswer::TimedOut,
    };
    for results in [vec![Err(silence)], vec![]] {
        let mut work = begin(&desired, AT_ONCE);
        work.handle_table(&kernel.table());
        assert_eq!(work.next(), Next::Apply(vec![added]));
        work.handle_results(results);
        assert_eq!(work.next(), Next::Read);
        let mut kernel = kernel.clone();
        let report = reconcile(&mut kernel, work, |_| {}, |_| {});
        assert!(report.is_complete());
        assert_eq!(kernel.servers(), desired);
    }
}

#[test]
fn a_service_that_cannot_be_added_is_no_reason_to_read_again() {
    let mut desired = of(web(1), &[1, 2]);
    desired.service.scheduler = Scheduler::new("nope").unwrap();
    let desired = [desired];
    let mut kernel = Kernel::default();
    let mut work = begin(&desired, AT_ONCE);
    work.handle_table(&kernel.table());
    let Next::Apply(changes) = work.next() else {
        panic!("something to do")
    };
    work.handle_results(
        changes
            .into_iter()
            .map(|change| kernel.apply(change))
            .collect(),
    );
    assert!(matches!(work.next(), Next::Done(_)));
}

/// The kernel's refusal of a change.
fn refusal(change: Change, errno: i32) -> Result<(), Error> {
    Err(Refusal {
        request: change.into(),
        errno: Errno(errno),
    }
    .into())
}

/// The only change of the plan.
fn only_change(work: &Reconciliation<'_>) -> Change {
    match work.next() {
        Next::Apply(changes) if changes.len() == 1 => changes[0],
        other => panic!("{other:?}"),
    }
}

fn torn() -> Table {
    Table {
        may_be_incomplete: true,
        ..Table::default()
    }
}

/// A service that no list has shown yet, and that exists by the kernel's answer.
fn begin_unseen(desired: &[VirtualServer]) -> Reconciliation<'_> {
    let mut work = begin(desired, AT_ONCE);
    work.handle_table(&torn());
    let add = Change::AddService(desired[0].service);
    work.handle_results(vec![refusal(add, EEXIST)]);
    work.handle_table(&torn());
    work
}

#[test]
fn an_object_missing_from_a_complete_list_is_added_despite_earlier_answers() {
    let desired = [of(web(1), &[])];
    let service = desired[0].service;
    let mut work = begin_unseen(&desired);
    assert_eq!(only_change(&work), Change::UpdateService(service));
    work.handle_results(vec![Ok(())]);
    work.handle_table(&Table::default());
    assert_eq!(only_change(&work), Change::AddService(service));
}

#[test]
fn an_object_that_existed_and_vanished_is_added() {
    let desired = [of(web(1), &[])];
    let service = desired[0].service;
    let mut work = begin_unseen(&desired);
    work.handle_results(vec![refusal(Change::UpdateService(service), ESRCH)]);
    work.handle_table(&torn());
    assert_eq!(only_change(&work), Change::AddService(service));
}

#[test]
fn a_removal_held_back_for_one_round_is_not_reported() {
    let desired = [of(web(1), &[2])];
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    let mut work = begin(&desired, AT_ONCE);
    work.handle_table(&kernel.table());
    // Another program was faster.
    let change = only_change(&work);
    kernel.apply(change).unwrap();
    work.handle_results(vec![refusal(change, EEXIST)]);
    let report = reconcile(&mut kernel, work, |_| {}, |_| {});
    assert_eq!(kernel.servers(), desired);
    assert_eq!(report.held_back, []);
}

#[test]
fn a_refusal_keeps_the_old_servers_in_later_rounds_too() {
    let desired = [of(web(1), &[2]), of(web(2), &[])];
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    kernel.refused.insert(server(2).key);
    let work = begin(&desired, AT_ONCE);
    // Another program adds the second service, so that there is another round.
    let add = |kernel: &mut Kernel| {
        let _ = kernel.apply(Change::AddService(desired[1].service));
    };
    let report = reconcile(&mut kernel, work, add, |_| {});
    assert_eq!(kernel.servers()[0], of(web(1), &[1]));
    assert_eq!(report.held_back.len(), 1);
}

#[test]
fn a_service_without_wanted_servers_loses_them_despite_refusals_of_others() {
    let desired = [of(web(1), &[]), of(web(2), &[2])];
    let mut kernel = Kernel::of(&[of(web(1), &[1]), of(web(2), &[])]);
    kernel.refused.insert(server(2).key);
    let report = quietly(&mut kernel, &desired, AT_ONCE);
    assert_eq!(kernel.servers(), [of(web(1), &[]), of(web(2), &[])]);
    assert_eq!((report.failed.len(), report.held_back.len()), (1, 0));
}
