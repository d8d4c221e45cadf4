//! Sent advertisements: the outbox of a turn, and the reports about refusals.

use vrrp_fsm::{Instant, Outgoing, fleet::RouterId};

use super::{Driver, DriverEvent, Fault, events::Topic, router::Silence};

impl Driver {
    /// Prepares an advertisement, and puts it into the outbox.
    pub(super) fn enqueue(&mut self, now: Instant, id: RouterId, outgoing: Outgoing) {
        // A router has one set of messages. Two advertisements of one turn go out one after the
        // other.
        if self.routers.get(&id).is_some_and(|it| it.is_outgoing) {
            self.flush(now);
        }
        let (Some(router), Some(machine)) = (self.routers.get_mut(&id), self.fleet.get(id)) else {
            return;
        };
        if let Err(error) = router.prepare(outgoing, machine) {
            // The check of the configuration has already encoded it.
            tracing::error!(%id, %error, "an advertisement could not be encoded");
        }
        router.is_outgoing = true;
        self.packets.enqueue(id);
    }

    /// Sends all advertisements that wait.
    pub(super) fn flush(&mut self, now: Instant) {
        if !self.packets.has_outgoing() {
            return;
        }
        let mut sent = self.packets.send(&mut self.routers);
        for (id, refused) in sent.routers.drain(..) {
            self.note_sent(now, id, refused);
        }
        for (id, event) in sent.refusals.drain(..) {
            self.note_reason(now, id, &event);
            self.report_refusal(now, id, event);
        }
        self.packets.keep_room(sent);
    }

    /// Notes that an advertisement left, or that all its messages were refused.
    fn note_sent(&mut self, now: Instant, id: RouterId, refused: usize) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let (outgoing, messages) = router.outgoing();
        if refused >= messages {
            router.silence.get_or_insert_with(|| {
                Box::new(Silence {
                    since: now,
                    reason: None,
                })
            });
            if let Some(outgoing) = outgoing {
                // It fails for a router that has just been removed.
                let _known = self.fleet.not_sent(id, outgoing);
            }
            return;
        }
        let Some(reason) = router.silence.take().and_then(|it| it.reason) else {
            return;
        };
        let fault = Fault::CannotSend(reason);
        router.change_problems(|it| drop(it.faults.take(&fault)));
        self.notify(Some(id), DriverEvent::Recovered(fault));
    }

    /// Notes a fault where nothing could be sent for so long that the others take over.
    #[cold]
    fn note_reason(&mut self, now: Instant, id: RouterId, event: &DriverEvent) {
        let (Some(router), Some(machine)) = (self.routers.get_mut(&id), self.fleet.get(id)) else {
            return;
        };
        let Some(silence) = &mut router.silence else {
            return;
        };
        let lasts = now >= silence.since + machine.active_down_interval();
        let DriverEvent::SendFailed { error, .. } = event else {
            return;
        };
        if !lasts
            || router.is_shut_down
            || silence.reason.is_some()
            || !router.config.common().track_interface
        {
            return;
        }
        let reason = error.to_string();
        silence.reason = Some(reason.clone());
        let fault = Fault::CannotSend(reason);
        router.change_problems(|it| drop(it.faults.replace(fault.clone())));
        self.notify(Some(id), DriverEvent::Fault(fault));
    }

    #[cold]
    fn report_refusal(&mut self, now: Instant, id: RouterId, mut event: DriverEvent) {
        // A router with such a fault is expected not to send.
        let passed = self
            .routers
            .get(&id)
            .filter(|router| !router.faults().iter().any(Fault::stops_router))
            .and_then(|_| self.events.pass(now, id, Topic::SendFailed));
        if let (Some(count), DriverEvent::SendFailed { suppressed, .. }) = (passed, &mut event) {
            *suppressed = count;
            self.notify(Some(id), event);
        }
    }
}
