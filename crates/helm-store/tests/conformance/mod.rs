//! What every engine must do, whatever stands behind it. `tests/sqlite.rs` and `tests/postgres.rs` run all of it:
//!
//! ```ignore
//! mod conformance;
//! conformance!(fresh);        // async fn fresh() -> impl Database: an empty database of its own
//! ```
//!
//! Each case gets an empty database. Entries are made by hand; `script.rs` is a writer small enough to be read at a glance.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use helm_store::engine::LogEngine;
use helm_store::history::HistoryEngine;
use helm_store::id::Instance;
use helm_store::metrics::engine::MetricEngine;

pub(crate) mod commits;
pub(crate) mod entries;
pub(crate) mod history;
pub(crate) mod lists;
pub(crate) mod model;
pub(crate) mod numbers;
pub(crate) mod partitions;
pub(crate) mod script;

/// A database that lives as long as this value.
pub(crate) trait Database: Send + Sync {
    /// Opens it; again, once everything that the last call gave is dropped.
    fn open(&self, instance: Instance) -> Pin<Box<dyn Future<Output = Arc<dyn LogEngine>> + Send + '_>>;
    /// The same, for what is not the log.
    fn open_beside(&self, instance: Instance) -> Pin<Box<dyn Future<Output = Arc<dyn Beside>> + Send + '_>>;
    /// What somebody sees who looks with psql or sqlite3: a query of one text.
    fn look<'a>(&'a self, sql: &'static str) -> Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>>;
}

/// What an engine keeps beside the log.
pub(crate) trait Beside: MetricEngine + HistoryEngine {}
impl<T: MetricEngine + HistoryEngine> Beside for T {}

/// The instance that the cases write under.
pub(crate) const INSTANCE: Instance = Instance(7);

/// Makes one test of each case, over the databases that `$fresh` gives.
#[macro_export]
macro_rules! conformance {
    ($fresh:path) => {
        $crate::conformance!(@ $fresh:
            entries::every_shape_comes_back_to_the_byte,
            entries::entries_are_found_by_id,
            entries::rows_come_in_order_and_in_pieces,
            entries::long_rows_come_in_small_pieces,
            entries::reading_rows_ends_when_nobody_listens,
            commits::a_commit_is_all_or_nothing_and_numbered,
            commits::two_commits_with_one_number_are_one,
            commits::a_commit_that_is_tried_leaves_nothing,
            commits::classes_are_written_side_by_side,
            commits::what_is_needed_to_go_on_is_there_after_a_reopen,
            commits::what_is_needed_to_go_on_moves_into_the_next_partition,
            commits::what_is_old_is_forgotten_behind_a_change_of_partition,
            commits::a_key_that_comes_again_counts_from_then_on,
            commits::a_class_without_entries_can_be_gone_on_with,
            partitions::partitions_say_what_they_hold,
            partitions::a_partition_begins_once,
            partitions::a_partition_begins_only_where_the_chain_ends,
            partitions::a_sealed_partition_takes_nothing,
            partitions::finishing_changes_no_answer,
            partitions::what_is_sealed_is_unfinished_until_it_is_finished,
            partitions::only_sealed_partitions_are_taken_away,
            partitions::counts_are_per_minute_service_and_level,
            partitions::a_finished_partition_has_its_counts_packed,
            lists::each_filter_holds_alone_and_with_others,
            lists::pages_follow_one_another_without_loss_or_doubling,
            lists::equal_times_are_ordered_by_id,
            lists::only_the_rows_that_are_named,
            lists::patterns_never_give_too_little,
            lists::nothing_in_a_filter_is_taken_for_a_command,
            numbers::numbers_come_back_and_a_repetition_changes_nothing,
            numbers::the_last_of_two_under_one_key_stays,
            numbers::a_restart_is_told_what_is_in_no_hour_yet,
            numbers::what_is_too_old_goes_and_nothing_else,
            numbers::service_metrics_looks_as_the_seed_had_it,
            history::states_are_replaced_and_look_as_the_seed_had_them,
            history::events_stay_as_they_were_first,
            history::events_are_found_and_paged,
            history::old_events_go,
        );
    };
    (@ $fresh:path: $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = $fresh().await;
                $crate::conformance::$module::$case(&database).await;
            }
        )*
    };
}
