//! What an operator asks of members, sent by the lab itself: defragment, snapshot, move the leader, and the removal and
//! addition of a member. Each request is bounded in time; none is repeated here.

use std::time::Duration;

use tonic::codegen::http::Uri;

use crate::{
    client::{CallError, Client},
    lab::{cluster::Cluster, observer},
    proto::etcdserverpb::{
        Member, MemberAddRequest, MemberRemoveRequest, MoveLeaderRequest, SnapshotRequest, StatusResponse,
        cluster_client::ClusterClient,
    },
    settings,
};

/// For questions; a member that takes longer counts as one that doesn't know.
const QUICK: Duration = Duration::from_millis(500);
/// For requests that the cluster has to agree on.
pub const USUAL: Duration = Duration::from_secs(5);
/// For those that rewrite or stream a database, and for a removal, whose fate must be known.
const LONG: Duration = Duration::from_secs(30);

/// The members of a cluster, as the lab reaches them.
#[derive(Clone, Copy)]
pub struct Requests<'a> {
    cluster: &'a Cluster,
}

impl<'a> Requests<'a> {
    /// Requests to the members of `cluster`.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster }
    }

    async fn client(self, member: &str, deadline: Duration) -> Result<Client, String> {
        observer::client(&self.url(member).await?, self.cluster.user(), QUICK, deadline)
    }

    async fn url(self, member: &str) -> Result<String, String> {
        let url = self.cluster.member_url(member).await;
        url.ok_or_else(|| format!("the lab can't reach {member}"))
    }

    /// Returns when `member` says that it has a leader, or with what it says instead after `limit`.
    pub async fn wait_until_following(self, member: &str, limit: Duration) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let said = match self.status(member).await {
                Ok(status) if status.leader != 0 => return Ok(()),
                Ok(_) => "it has no leader".to_owned(),
                Err(error) => error,
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("{member} is not back {limit:?} after its start: {said}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Rewrites the member's database.
    pub async fn defragment(self, member: &str) -> Result<(), String> {
        let answer = self.client(member, LONG).await?.defragment().await;
        answer.map(drop).map_err(|error| error.to_string())
    }

    /// The name by which the commands know a member.
    fn known_as(self, member: &str, url: &str) -> String {
        let endpoints = settings::parse_endpoints("the lab", self.cluster.endpoints()).unwrap_or_default();
        let known =
            endpoints.into_iter().find(|endpoint| url.parse().is_ok_and(|uri: Uri| endpoint.uri == uri));
        known.map_or(member.to_owned(), |endpoint| endpoint.name)
    }

    /// A client that calls the member by the name that the commands know it by, for what is recorded.
    pub async fn known_client(self, member: &str, deadline: Duration) -> Result<Client, String> {
        let url = self.url(member).await?;
        let named = self.known_as(member, &url);
        observer::client_named(Some(&named), &url, self.cluster.user(), QUICK, deadline)
    }

    /// What a member says of itself, if it does soon.
    pub async fn status(self, member: &str) -> Result<StatusResponse, String> {
        let answer = self.client(member, QUICK).await?.status().await;
        answer.map(|answered| answered.message).map_err(|error| error.to_string())
    }

    /// Streams the member's database to its end, and keeps nothing of it.
    pub async fn snapshot(self, member: &str) -> Result<(), String> {
        let client = self.client(member, LONG).await?;
        let mut stub = client.maintenance().max_decoding_message_size(usize::MAX);
        let streamed = async {
            let mut stream = stub.snapshot(SnapshotRequest {}).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        };
        match tokio::time::timeout(LONG, streamed).await {
            Err(_) => Err(format!("the snapshot did not end within {LONG:?}")),
            Ok(result) => result.map_err(|status| status.message().to_owned()),
        }
    }

    /// Asks the member that leads to hand leadership to another.
    pub async fn move_leader(self, leader: &str, pick: u64) -> Result<(), String> {
        let client = self.client(leader, USUAL).await?;
        let words = |error: CallError| error.to_string();
        let own = client.status().await.map_err(words)?.message.leader;
        let others: Vec<u64> = client
            .member_list(false)
            .await
            .map_err(words)?
            .members
            .into_iter()
            .map(|member| member.id)
            .filter(|id| *id != own)
            .collect();
        let at = usize::try_from(pick % others.len().max(1) as u64).unwrap_or_default();
        let target_id = *others.get(at).ok_or("there is no other member")?;
        let mut stub = client.maintenance();
        let request = MoveLeaderRequest { target_id };
        client.unary(request, |message| stub.move_leader(message)).await.map(drop).map_err(words)
    }

    /// The members, as the cluster agrees on.
    pub async fn members(self, through: &str) -> Result<Vec<Member>, String> {
        let client = self.client(through, USUAL).await?;
        Ok(client.member_list(true).await.map_err(|error| error.to_string())?.members)
    }

    /// Removes a member by its id.
    pub async fn remove(self, through: &str, id: u64) -> Result<(), String> {
        let client = self.client(through, LONG).await?;
        let mut stub = ClusterClient::with_origin(client.channel().clone(), client.endpoint().uri.clone());
        let request = MemberRemoveRequest { id };
        let answer = client.unary(request, |message| stub.member_remove(message)).await;
        answer.map(drop).map_err(|error| error.to_string())
    }

    /// Adds a member that is going to listen for its peers there.
    pub async fn add(self, through: &str, peer_urls: Vec<String>) -> Result<(), String> {
        let client = self.client(through, LONG).await?;
        let mut stub = ClusterClient::with_origin(client.channel().clone(), client.endpoint().uri.clone());
        let request = MemberAddRequest { peer_ur_ls: peer_urls, is_learner: false };
        let answer = client.unary(request, |message| stub.member_add(message)).await;
        answer.map(drop).map_err(|error| error.to_string())
    }
}
