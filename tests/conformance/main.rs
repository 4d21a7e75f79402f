//! What every store, every bus and every driver of SFU nodes promises, as one suite a port, run on each implementation.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod backend;
mod buses;
mod events;
mod feed;
mod health;
mod instances;
mod list;
mod mongo;
mod mongo_feed;
mod nodes;
mod presence;
mod redis_bus;
mod redis_topologies;
mod round_trips;
mod sample;
mod sessions;
mod sfu;
mod turns;
mod unknown;
mod unreadable;

#[path = "../support/livekit.rs"]
mod livekit_server;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../support/openvidu.rs"]
mod openvidu_stub;
#[path = "../support/peers.rs"]
mod peers;
#[path = "../support/redis.rs"]
mod redis;
#[expect(dead_code, reason = "the tests of faults use more of it")]
#[path = "../support/toxiproxy.rs"]
mod toxiproxy;

/// Every case on every store. A new case needs its line here, or the compiler calls it dead.
macro_rules! suite {
    ($($file:ident :: $case:ident,)+) => {
        mod sqlite_store {
            $(#[tokio::test]
            async fn $case() {
                let backend = crate::backend::sqlite();
                crate::$file::$case(&backend).await;
            })+
        }

        mod observed_store {
            $(#[tokio::test]
            async fn $case() {
                let backend = crate::backend::observed();
                crate::$file::$case(&backend).await;
            })+
        }

        mod mongo_store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs the MongoDB peer; .ci/run installs it"]
            async fn $case() {
                for server in crate::mongo::servers() {
                    let backend = server.backend().await;
                    crate::$file::$case(&backend).await;
                    server.clean_up(backend).await;
                }
            })+
        }
    };
}

suite! {
    sessions::what_is_unknown_is_none,
    sessions::a_session_is_found_by_its_short_links,
    sessions::a_session_reads_back_as_it_was_stored,
    sessions::the_way_of_a_call_reads_back_as_it_was_stored,
    sessions::labels_may_hold_any_text,
    sessions::an_update_clears_fields,
    sessions::an_ended_session_keeps_its_end_time_and_cause,
    sessions::an_incarnation_is_taken_once,
    sessions::an_insert_decides_over_the_latest_session,
    sessions::the_latest_session_has_the_highest_incarnation,
    sessions::one_of_racing_inserts_is_stored,
    sessions::inserts_of_many_callers_are_all_stored,
    sessions::a_commit_over_another_version_stores_nothing,
    sessions::one_of_racing_commits_is_stored,
    sessions::racing_changes_leave_no_gap,
    sessions::sessions_are_counted_by_state,
    health::an_available_store_answers,
    turns::turns_continue_through_any_handle,
    turns::concurrent_inserts_take_one_turn_each,
    turns::every_list_of_nodes_is_served_by_the_same_turns,
    turns::each_rotation_has_its_own_turns,
    turns::unusable_turns_are_passed_over,
    turns::a_refused_insert_stores_nothing,
    list::every_combination_of_filters_finds_its_sessions,
    list::pages_follow_each_other_without_gap_or_overlap,
    list::time_bounds_are_exclusive,
    list::a_user_is_found_as_doctor_and_as_patient_once,
    list::a_replaced_doctor_is_not_found,
    events::every_kind_reads_back_as_it_was_stored,
    events::one_event_of_each_kind_reads_back,
    events::any_part_can_be_read,
    events::a_long_history_has_no_gap_from_anywhere,
    events::readers_see_no_gap_while_writers_write,
    feed::the_feed_has_every_event_in_its_sessions_order,
    feed::a_long_history_comes_in_pages,
    feed::an_idle_feed_is_empty,
    feed::now_is_after_all_stored_events,
    feed::a_reader_misses_nothing_while_writers_write,
    feed::an_unreadable_event_does_not_block_others,
    feed::an_invalid_cursor_is_refused,
    presence::participants_read_back_as_they_were_stored,
    presence::every_kind_actor_role_and_cause_reads_back,
    presence::a_change_of_many_events_is_one_write,
    instances::an_instance_has_its_last_heartbeat,
    instances::a_former_version_has_no_say_about_nodes,
    instances::sessions_are_found_by_instance,
    nodes::a_node_reads_back_as_it_was_stored,
    nodes::a_save_over_another_version_stores_nothing,
    nodes::one_of_racing_saves_is_stored,
    nodes::a_node_keeps_its_newest_events,
    nodes::fields_of_another_version_of_a_node_survive,
    nodes::an_unreadable_node_gets_no_sessions_and_blocks_no_other,
    nodes::what_is_on_a_node_is_counted,
    nodes::a_session_that_moves_is_found_on_its_new_node,
    presence::overdue_sessions_are_found,
    presence::sessions_past_their_own_empty_timeout_are_found,
    presence::one_who_waits_is_let_in,
    unreadable::an_unreadable_session_is_named,
    unreadable::an_unreadable_event_is_named,
    unreadable::events_of_a_newer_version_are_skipped,
    unknown::fields_of_another_version_survive_changes,
    unknown::a_place_reads_back_and_has_defaults,
    unreadable::unreadable_sessions_take_their_places_in_a_list,
    unreadable::filters_find_unreadable_sessions,
}
