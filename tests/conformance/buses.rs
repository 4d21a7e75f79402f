//! What a bus promises.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use video_session::bus::Bus;
use video_session::bus::local::LocalBus;
use video_session::domain::id::SessionId;

fn session(n: usize) -> SessionId {
    SessionId::from_stored(format!("sess_{n}"))
}

/// Far longer than news takes; only a failing test waits for it.
const LIMIT: Duration = Duration::from_secs(10);

async fn subscribers_hear_of_their_session_only(bus: &dyn Bus) {
    let mut first = bus.subscribe(&session(1));
    let mut again = bus.subscribe(&session(1));
    let mut other = bus.subscribe(&session(2));
    bus.publish(&session(1));
    timeout(LIMIT, first.heard()).await.unwrap();
    timeout(LIMIT, again.heard()).await.unwrap();
    // Had the other one been told of the first session, it would hear at once now.
    assert!(futures::FutureExt::now_or_never(other.heard()).is_none());
    bus.publish(&session(2));
    timeout(LIMIT, other.heard()).await.unwrap();
}

async fn several_news_count_as_one(bus: &dyn Bus) {
    let mut news = bus.subscribe(&session(1));
    for _ in 0..10 {
        bus.publish(&session(1));
    }
    timeout(LIMIT, news.heard()).await.unwrap();
    assert!(futures::FutureExt::now_or_never(news.heard()).is_none());
    bus.publish(&session(1));
    timeout(LIMIT, news.heard()).await.unwrap();
}

async fn what_was_published_before_is_not_heard(bus: &dyn Bus) {
    bus.publish(&session(1));
    let mut news = bus.subscribe(&session(1));
    assert!(futures::FutureExt::now_or_never(news.heard()).is_none());
}

async fn one_who_leaves_disturbs_nobody(bus: &dyn Bus) {
    let leaving = bus.subscribe(&session(1));
    let mut staying = bus.subscribe(&session(1));
    drop(leaving);
    bus.publish(&session(1));
    timeout(LIMIT, staying.heard()).await.unwrap();
    drop(staying);
    bus.publish(&session(1));
    let mut back = bus.subscribe(&session(1));
    bus.publish(&session(1));
    timeout(LIMIT, back.heard()).await.unwrap();
}

/// Everybody leaves and comes while news flows: whoever stays hears of the last.
async fn nobody_is_lost_while_others_come_and_go(bus: Arc<dyn Bus>) {
    let busy = {
        let bus = Arc::clone(&bus);
        tokio::task::spawn_blocking(move || {
            for _ in 0..2000 {
                drop(bus.subscribe(&session(1)));
            }
        })
    };
    for _ in 0..2000 {
        let mut news = bus.subscribe(&session(1));
        bus.publish(&session(1));
        timeout(LIMIT, news.heard()).await.unwrap();
    }
    busy.await.unwrap();
}

#[tokio::test]
async fn local_bus() {
    subscribers_hear_of_their_session_only(&LocalBus::default()).await;
    several_news_count_as_one(&LocalBus::default()).await;
    what_was_published_before_is_not_heard(&LocalBus::default()).await;
    one_who_leaves_disturbs_nobody(&LocalBus::default()).await;
    nobody_is_lost_while_others_come_and_go(Arc::new(LocalBus::default())).await;
}
