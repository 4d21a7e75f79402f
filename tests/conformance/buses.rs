//! What a bus promises. Each case reports the first promise that a bus breaks, so that the cases themselves can be tried on
//! buses that are broken on purpose.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::{Map, json};
use tokio::sync::watch;
use tokio::time::timeout;
use video_session::bus::local::LocalBus;
use video_session::bus::{
    Bus, ChangeSubscription, Delivery, Message, RELAYS_WAITING_MAX, Relay, RelayKind,
    RelaySubscription,
};
use video_session::domain::id::{SessionId, UserId};

/// Far longer than a message takes; only a failing test waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// The other instance's id.
pub(crate) const THERE: &str = "there";

/// A promise that a bus broke.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A hint did not arrive.
    HintLost,
    /// Hints that were not taken arrived one by one.
    HintsPiledUp,
    /// A hint of another session, or of before the subscription, arrived.
    StrangeHint,
    /// A relay did not arrive, and the subscriber did not learn of it.
    RelayLost,
    /// A relay arrived out of its sender's order, or twice.
    OutOfOrder,
    /// A relay of another session, or of before the subscription, arrived.
    StrangeRelay,
    /// A subscriber that takes nothing is kept everything for.
    Unbounded,
    /// A relay arrived with another content.
    Changed,
}

pub(crate) type Outcome = Result<(), Broken>;

/// A bus under test, and how long to wait for a message of it.
#[derive(Clone)]
struct Tried {
    bus: Arc<dyn Bus>,
    limit: Duration,
}

pub(crate) fn session(n: usize) -> SessionId {
    SessionId::from_stored(format!("sess_{n}"))
}

/// The relay number `n` of a sender.
pub(crate) fn relay(session_id: &SessionId, sender: &str, n: usize) -> Relay {
    let mut payload = Map::new();
    payload.insert("data".into(), json!({"n": n, "text": "ü\n\"\u{0}"}));
    Relay {
        session_id: session_id.clone(),
        from: UserId::from_stored(sender.to_owned()),
        to: n
            .is_multiple_of(2)
            .then(|| UserId::from_stored("receiver".into())),
        kind: if n.is_multiple_of(3) {
            RelayKind::IceCandidate
        } else {
            RelayKind::Offer
        },
        version: 7,
        payload,
    }
}

fn number_of(relay: &Relay) -> usize {
    let n = relay.payload["data"]["n"].as_u64().unwrap();
    usize::try_from(n).unwrap()
}

impl Tried {
    fn publish_change(&self, session_id: &SessionId) {
        self.bus.publish(Message::Changed(session_id.clone()));
    }

    fn publish_relay(&self, session_id: &SessionId, sender: &str, n: usize) {
        let relay = relay(session_id, sender, n);
        self.bus.publish(Message::Relay {
            relay,
            instances: vec![THERE.into()],
        });
    }

    /// Waits until everything published so far has arrived.
    async fn settle(&self) -> Outcome {
        let mut relays = self.bus.subscribe_relays(&session(9));
        self.publish_relay(&session(9), "settled", 1);
        self.expect_relay(&mut relays, &session(9), "settled", 1)
            .await
    }

    async fn expect_hint(&self, hints: &mut ChangeSubscription) -> Outcome {
        let hint = timeout(self.limit, hints.changed()).await;
        hint.map_err(|_| Broken::HintLost)
    }

    async fn next(&self, relays: &mut RelaySubscription) -> Result<Delivery, Broken> {
        let next = timeout(self.limit, relays.next()).await;
        next.map_err(|_| Broken::RelayLost)
    }

    /// The next relay of a session, which must be that one.
    async fn expect_relay(
        &self,
        relays: &mut RelaySubscription,
        session_id: &SessionId,
        sender: &str,
        n: usize,
    ) -> Outcome {
        match self.next(relays).await? {
            Delivery::Lagged(_) => Err(Broken::RelayLost),
            Delivery::Relay(heard) if heard.session_id != *session_id => Err(Broken::StrangeRelay),
            Delivery::Relay(heard) if *heard == relay(session_id, sender, n) => Ok(()),
            Delivery::Relay(heard) => Err(match number_of(&heard).cmp(&n) {
                std::cmp::Ordering::Less => Broken::OutOfOrder,
                std::cmp::Ordering::Equal => Broken::Changed,
                std::cmp::Ordering::Greater => self.what_became_of(relays, n).await,
            }),
        }
    }

    /// Of a relay that did not arrive when it should have: whether it arrives later.
    async fn what_became_of(&self, relays: &mut RelaySubscription, n: usize) -> Broken {
        loop {
            match self.next(relays).await {
                Ok(Delivery::Relay(heard)) if number_of(&heard) == n => return Broken::OutOfOrder,
                Ok(_) => {}
                Err(broken) => return broken,
            }
        }
    }
}

async fn subscribers_receive_the_hints_of_their_session(tried: &Tried) -> Outcome {
    let mut first = tried.bus.subscribe_changes(&session(1));
    let mut again = tried.bus.subscribe_changes(&session(1));
    let mut other = tried.bus.subscribe_changes(&session(2));
    tried.publish_change(&session(1));
    tried.expect_hint(&mut first).await?;
    tried.expect_hint(&mut again).await?;
    tried.settle().await?;
    if other.changed().now_or_never().is_some() {
        return Err(Broken::StrangeHint);
    }
    tried.publish_change(&session(2));
    tried.expect_hint(&mut other).await
}

async fn untaken_hints_count_as_one(tried: &Tried) -> Outcome {
    let mut hints = tried.bus.subscribe_changes(&session(1));
    for _ in 0..10 {
        tried.publish_change(&session(1));
    }
    tried.settle().await?;
    tried.expect_hint(&mut hints).await?;
    if hints.changed().now_or_never().is_some() {
        return Err(Broken::HintsPiledUp);
    }
    tried.publish_change(&session(1));
    tried.expect_hint(&mut hints).await
}

async fn earlier_messages_are_not_received(tried: &Tried) -> Outcome {
    tried.publish_change(&session(1));
    tried.publish_relay(&session(1), "a", 1);
    tried.settle().await?;
    let mut hints = tried.bus.subscribe_changes(&session(1));
    let mut relays = tried.bus.subscribe_relays(&session(1));
    if hints.changed().now_or_never().is_some() {
        return Err(Broken::StrangeHint);
    }
    tried.publish_relay(&session(1), "a", 2);
    match tried.next(&mut relays).await? {
        Delivery::Relay(heard) if number_of(&heard) == 2 => Ok(()),
        _ => Err(Broken::StrangeRelay),
    }
}

async fn relays_arrive_unchanged_and_in_order(tried: &Tried) -> Outcome {
    const ALL: usize = RELAYS_WAITING_MAX / 2;
    let mut first = tried.bus.subscribe_relays(&session(1));
    let mut again = tried.bus.subscribe_relays(&session(1));
    for n in 1..=ALL {
        tried.publish_relay(&session(1), "a", n);
    }
    for relays in [&mut first, &mut again] {
        for n in 1..=ALL {
            tried.expect_relay(relays, &session(1), "a", n).await?;
        }
    }
    // Had one of them arrived twice, it would be heard now.
    tried.publish_relay(&session(1), "a", 0);
    tried.expect_relay(&mut first, &session(1), "a", 0).await
}

/// Senders on several threads: each one's relays keep their order.
async fn each_senders_order_is_kept(tried: &Tried) -> Outcome {
    const SENDERS: [&str; 3] = ["a", "b", "c"];
    const EACH: usize = RELAYS_WAITING_MAX / SENDERS.len();
    let mut relays = tried.bus.subscribe_relays(&session(1));
    let senders = SENDERS.map(|sender| {
        let tried = tried.clone();
        tokio::task::spawn_blocking(move || {
            for n in 1..=EACH {
                tried.publish_relay(&session(1), sender, n);
            }
        })
    });
    for sender in senders {
        sender.await.unwrap();
    }
    let mut expected = SENDERS.map(|_| 1);
    for _ in 0..EACH * SENDERS.len() {
        let Delivery::Relay(heard) = tried.next(&mut relays).await? else {
            return Err(Broken::RelayLost);
        };
        let sender = SENDERS.iter().position(|name| heard.from.as_str() == *name);
        let expected = &mut expected[sender.unwrap()];
        if number_of(&heard) != *expected {
            return Err(Broken::OutOfOrder);
        }
        *expected += 1;
    }
    Ok(())
}

async fn no_other_session_receives_a_relay(tried: &Tried) -> Outcome {
    let mut own = tried.bus.subscribe_relays(&session(1));
    let mut other = tried.bus.subscribe_relays(&session(2));
    tried.publish_relay(&session(1), "a", 1);
    tried.expect_relay(&mut own, &session(1), "a", 1).await?;
    // Had the other one been handed the first session's, it would receive that before its own.
    tried.publish_relay(&session(2), "a", 2);
    match tried.next(&mut other).await? {
        Delivery::Relay(heard) if *heard == relay(&session(2), "a", 2) => Ok(()),
        _ => Err(Broken::StrangeRelay),
    }
}

/// Publishing does not wait for a subscriber that takes nothing. The subscriber learns how many relays it missed, and the others miss
/// none.
async fn a_slow_subscriber_learns_what_it_missed(tried: &Tried) -> Outcome {
    const ALL: usize = 3 * RELAYS_WAITING_MAX;
    let mut slow = tried.bus.subscribe_relays(&session(1));
    let mut fast = tried.bus.subscribe_relays(&session(1));
    for n in 1..=ALL {
        tried.publish_relay(&session(1), "a", n);
        tried.expect_relay(&mut fast, &session(1), "a", n).await?;
    }
    let (mut received, mut missed, mut last) = (0, 0, 0);
    while received + missed < ALL {
        match tried.next(&mut slow).await? {
            Delivery::Lagged(dropped) => missed += usize::try_from(dropped).unwrap(),
            Delivery::Relay(heard) if number_of(&heard) <= last => return Err(Broken::OutOfOrder),
            Delivery::Relay(heard) => {
                last = number_of(&heard);
                received += 1;
            }
        }
    }
    if received < RELAYS_WAITING_MAX {
        return Err(Broken::RelayLost);
    }
    if missed == 0 {
        return Err(Broken::Unbounded);
    }
    tried.publish_relay(&session(1), "a", ALL + 1);
    let next = ALL + 1;
    tried.expect_relay(&mut slow, &session(1), "a", next).await
}

async fn a_dropped_subscription_disturbs_no_other(tried: &Tried) -> Outcome {
    let dropped = tried.bus.subscribe_changes(&session(1));
    let dropped_too = tried.bus.subscribe_relays(&session(1));
    let mut hints = tried.bus.subscribe_changes(&session(1));
    let mut relays = tried.bus.subscribe_relays(&session(1));
    drop((dropped, dropped_too));
    tried.publish_change(&session(1));
    tried.publish_relay(&session(1), "a", 1);
    tried.expect_hint(&mut hints).await?;
    tried.expect_relay(&mut relays, &session(1), "a", 1).await?;
    drop((hints, relays));
    tried.publish_change(&session(1));
    tried.publish_relay(&session(1), "a", 2);
    tried.settle().await?;
    let mut hints = tried.bus.subscribe_changes(&session(1));
    let mut relays = tried.bus.subscribe_relays(&session(1));
    tried.publish_change(&session(1));
    tried.publish_relay(&session(1), "a", 3);
    tried.expect_hint(&mut hints).await?;
    tried.expect_relay(&mut relays, &session(1), "a", 3).await
}

/// Other subscriptions come and go on another thread while messages flow.
async fn nothing_is_lost_while_others_subscribe_and_drop(tried: &Tried) -> Outcome {
    let others = {
        let bus = Arc::clone(&tried.bus);
        tokio::task::spawn_blocking(move || {
            for _ in 0..2000 {
                drop(bus.subscribe_changes(&session(1)));
                drop(bus.subscribe_relays(&session(1)));
            }
        })
    };
    for n in 0..2000 {
        let mut hints = tried.bus.subscribe_changes(&session(1));
        let mut relays = tried.bus.subscribe_relays(&session(1));
        tried.publish_change(&session(1));
        tried.publish_relay(&session(1), "a", n);
        tried.expect_hint(&mut hints).await?;
        tried.expect_relay(&mut relays, &session(1), "a", n).await?;
    }
    others.await.unwrap();
    Ok(())
}

/// Every promise, on a bus that no case has used before, or has no subscribers any more.
pub(crate) async fn suite(bus: impl Fn() -> Arc<dyn Bus>, limit: Duration) -> Outcome {
    let tried = || Tried { bus: bus(), limit };
    subscribers_receive_the_hints_of_their_session(&tried()).await?;
    untaken_hints_count_as_one(&tried()).await?;
    earlier_messages_are_not_received(&tried()).await?;
    relays_arrive_unchanged_and_in_order(&tried()).await?;
    each_senders_order_is_kept(&tried()).await?;
    no_other_session_receives_a_relay(&tried()).await?;
    a_slow_subscriber_learns_what_it_missed(&tried()).await?;
    a_dropped_subscription_disturbs_no_other(&tried()).await?;
    nothing_is_lost_while_others_subscribe_and_drop(&tried()).await
}

#[tokio::test]
async fn local_bus() {
    let bus = || Arc::new(LocalBus::default()) as Arc<dyn Bus>;
    assert_eq!(suite(bus, LIMIT).await, Ok(()));
}

// === broken buses: each must fail ===

/// A bus between which and its publishers something goes wrong.
struct Faulty {
    bus: Arc<dyn Bus>,
    fault: Fault,
    published: AtomicUsize,
    subscribed: AtomicUsize,
    held: Mutex<Option<Relay>>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    DropsHints,
    DropsRelays,
    ServesOneSubscriber,
    SwapsRelays,
    RepeatsRelays,
    HandsHintsToOthers,
    HandsRelaysToOthers,
    ForgetsTheTarget,
    RemembersThePast,
    DropsRelaysAfterMany,
}

impl Faulty {
    fn publish_relay(&self, relay: Relay) {
        let n = self.published.fetch_add(1, Ordering::Relaxed);
        let forward = |relay| {
            self.bus.publish(Message::Relay {
                relay,
                instances: vec![THERE.into()],
            });
        };
        match self.fault {
            Fault::DropsRelays if n % 100 == 99 => {}
            Fault::SwapsRelays if n % 100 == 98 => *self.held.lock().unwrap() = Some(relay),
            Fault::RepeatsRelays if n % 100 == 99 => {
                forward(relay.clone());
                forward(relay);
            }
            Fault::HandsRelaysToOthers if relay.session_id == session(1) => {
                let session_id = session(2);
                forward(Relay {
                    session_id,
                    ..relay.clone()
                });
                forward(relay);
            }
            Fault::ForgetsTheTarget => forward(Relay { to: None, ..relay }),
            Fault::RemembersThePast if relay.session_id == session(1) => {
                *self.held.lock().unwrap() = Some(relay.clone());
                forward(relay);
            }
            Fault::DropsRelaysAfterMany if n >= 2 * RELAYS_WAITING_MAX && n.is_multiple_of(2) => {}
            _ => {
                forward(relay);
                if matches!(self.fault, Fault::SwapsRelays) {
                    self.held.lock().unwrap().take().map(forward);
                }
            }
        }
    }
}

impl Bus for Faulty {
    fn publish(&self, message: Message) {
        match message {
            Message::Relay { relay, .. } => self.publish_relay(relay),
            Message::Changed(_) if matches!(self.fault, Fault::DropsHints) => {}
            Message::Changed(_) if matches!(self.fault, Fault::HandsHintsToOthers) => {
                for n in [1, 2] {
                    self.bus.publish(Message::Changed(session(n)));
                }
            }
            Message::Changed(session_id) => self.bus.publish(Message::Changed(session_id)),
        }
    }

    fn publish_here(&self, session_id: &SessionId) {
        self.bus.publish_here(session_id);
    }

    fn is_up(&self) -> watch::Receiver<bool> {
        self.bus.is_up()
    }

    fn hears(&self, instance_id: &str) -> bool {
        self.bus.hears(instance_id)
    }

    fn gaps(&self) -> watch::Receiver<()> {
        self.bus.gaps()
    }

    fn subscribe_changes(&self, session_id: &SessionId) -> ChangeSubscription {
        self.bus.subscribe_changes(session_id)
    }

    fn subscribe_relays(&self, session_id: &SessionId) -> RelaySubscription {
        let subscribed = self.subscribed.fetch_add(1, Ordering::Relaxed);
        if matches!(self.fault, Fault::ServesOneSubscriber) && subscribed > 0 {
            return LocalBus::default().subscribe_relays(session_id);
        }
        let subscription = self.bus.subscribe_relays(session_id);
        if matches!(self.fault, Fault::RemembersThePast)
            && let Some(relay) = self.held.lock().unwrap().clone()
        {
            self.bus.publish(Message::Relay {
                relay,
                instances: vec![THERE.into()],
            });
        }
        subscription
    }
}

/// Tries the suite on broken variants of a bus, which delivers within `limit`.
pub(crate) async fn expect_failures(bus: impl Fn() -> Arc<dyn Bus>, limit: Duration) {
    for (fault, broken) in [
        (Fault::DropsHints, Broken::HintLost),
        (Fault::DropsRelays, Broken::RelayLost),
        (Fault::ServesOneSubscriber, Broken::RelayLost),
        (Fault::SwapsRelays, Broken::OutOfOrder),
        (Fault::RepeatsRelays, Broken::OutOfOrder),
        (Fault::HandsHintsToOthers, Broken::StrangeHint),
        (Fault::HandsRelaysToOthers, Broken::StrangeRelay),
        (Fault::ForgetsTheTarget, Broken::Changed),
        (Fault::RemembersThePast, Broken::StrangeRelay),
        (Fault::DropsRelaysAfterMany, Broken::RelayLost),
    ] {
        let faulty = || {
            Arc::new(Faulty {
                bus: bus(),
                fault,
                published: AtomicUsize::new(0),
                subscribed: AtomicUsize::new(0),
                held: Mutex::default(),
            }) as Arc<dyn Bus>
        };
        let outcome = suite(faulty, limit).await;
        assert_eq!(outcome, Err(broken), "{fault:?}");
    }
}

#[tokio::test]
async fn the_suite_fails_on_a_bus_that_breaks_its_promises() {
    let bus = || Arc::new(LocalBus::default()) as Arc<dyn Bus>;
    // The local bus delivers at once: what is not there soon does not come.
    expect_failures(bus, Duration::from_millis(200)).await;
}
