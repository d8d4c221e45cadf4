//! When a stream has listed all objects that exist.

use std::time::{Duration, Instant};

use vrrp_examples::kubernetes::ObjectKind;

/// The objects that a stream lists at its beginning. It does not say where they end.
///
/// Services and EndpointSlices are listed by two watches, and every cluster has some of both. So
/// the list counts as complete once both kinds have come and no object has for a while. Removals
/// before that would break traffic. In a busy cluster objects change all the time, so there is also
/// a limit.
#[derive(Debug)]
pub(crate) struct InitialList {
    quiet: Duration,
    limit: Duration,
    begin: Option<Instant>,
    last: Option<Instant>,
    has_services: bool,
    has_slices: bool,
}

impl InitialList {
    /// A list that is complete after a time of `quiet` without objects, and after `limit` at the
    /// latest.
    pub(crate) const fn new(quiet: Duration, limit: Duration) -> Self {
        Self {
            quiet,
            limit,
            begin: None,
            last: None,
            has_services: false,
            has_slices: false,
        }
    }

    /// Notes an object.
    pub(crate) fn note(&mut self, now: Instant, kind: ObjectKind) {
        self.begin.get_or_insert(now);
        self.last = Some(now);
        match kind {
            ObjectKind::Service => self.has_services = true,
            ObjectKind::EndpointSlice => self.has_slices = true,
        }
    }

    /// The time at which it is complete, unless another object comes; `None` before the first one.
    pub(crate) fn end(&self) -> Option<Instant> {
        let limit = self.begin? + self.limit;
        if self.has_services && self.has_slices {
            Some(limit.min(self.last? + self.quiet))
        } else {
            Some(limit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(2);
    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn a_list_is_complete_when_both_kinds_have_come_and_nothing_more_does() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut list = InitialList::new(QUIET, LIMIT);
        assert_eq!(list.end(), None);
        list.note(at(1), ObjectKind::Service);
        // The other watch may be slow.
        assert_eq!(list.end(), Some(at(1) + LIMIT));
        list.note(at(9), ObjectKind::EndpointSlice);
        assert_eq!(list.end(), Some(at(9) + QUIET));
        list.note(at(10), ObjectKind::Service);
        assert_eq!(list.end(), Some(at(10) + QUIET));
    }

    #[test]
    fn a_list_of_objects_that_change_all_the_time_is_complete_at_the_limit() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut list = InitialList::new(QUIET, LIMIT);
        for second in 0..30 {
            list.note(at(second), ObjectKind::Service);
            list.note(at(second), ObjectKind::EndpointSlice);
            assert!(list.end() > Some(at(second)));
        }
        assert_eq!(list.end(), Some(at(0) + LIMIT));
    }
}
