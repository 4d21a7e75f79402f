//! The rotation's counter in MongoDB.

use mongodb::Client;
use mongodb::bson::{Document, doc};

use crate::peers::MongoPeer;
use crate::workload::Found;

/// How many turns were taken for which there is no session.
pub(crate) async fn burnt(peer: &MongoPeer, database: &str, found: &Found) -> usize {
    let uri = format!("mongodb://{}", peer.addr);
    let client = Client::with_uri_str(uri).await.unwrap();
    let counters = client.database(database).collection::<Document>("counters");
    let rotation = counters.find_one(doc! {"_id": "rotation"}).await.unwrap();
    let turns = rotation.unwrap().get_i64("turn").unwrap();
    usize::try_from(turns).unwrap() - found.sessions
}
