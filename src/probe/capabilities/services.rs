//! Trials of leases, locks, elections, maintenance and members. What would change the cluster is asked for in a way that
//! makes no sense, so that it is refused by whoever knows it.

use super::{Lack, Trial, Trier, expect, known_by, strange};
use crate::{
    capability::Capability,
    operation::{
        Answer, KeyRange, Put, Range, Request,
        service::{
            ElectionAnswer, ElectionRequest, LeaseAnswer, LeaseRequest, LockAnswer, LockRequest,
            MaintenanceRequest,
        },
    },
    probe::{call::Call, error::AskError},
    proto::etcdserverpb as pb,
    types::{LeaseId, MemberId, Revision},
};

/// It is revoked long before.
const TTL_S: i64 = 60;

impl Trier {
    pub(super) async fn services(&mut self, capability: Capability) -> Trial {
        match capability {
            Capability::Leases => self.leases().await,
            Capability::LeaseKeepAlive | Capability::LeaseTimeToLive | Capability::LeaseList => {
                self.lease_answers(capability).await
            }
            Capability::Locks => self.locks().await,
            Capability::Elections => self.elections().await,
            Capability::Hashes => self.maintain(MaintenanceRequest::HashKv { revision: Revision(0) }).await,
            Capability::Defragmentation => self.maintain(MaintenanceRequest::Defragment {}).await,
            Capability::Snapshots => self.maintain(MaintenanceRequest::Snapshot {}).await,
            Capability::LeaderMoves => {
                known_by(self.maintain(MaintenanceRequest::MoveLeader { to: MemberId(0) }).await)
            }
            Capability::Alarms => Ok(self.client.alarms().await.map(drop)?),
            Capability::MemberList => {
                let list = self.client.member_list(true).await?;
                expect(!list.members.is_empty(), "the list of members is empty")
            }
            Capability::MemberChanges => {
                let nobody = pb::MemberRemoveRequest { id: 0 };
                known_by(self.call("/etcdserverpb.Cluster/MemberRemove", &nobody).await)
            }
            Capability::Users => {
                known_by(self.call("/etcdserverpb.Auth/UserList", &pb::AuthUserListRequest {}).await)
            }
            _ => {
                let status = self.client.status().await?.message;
                expect(status.leader != 0, "the status tells no leader")
            }
        }
    }

    async fn maintain(&self, request: MaintenanceRequest) -> Trial {
        self.ask(Request::Maintenance(request)).await.map(drop)
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeaseAnswer, Lack> {
        match self.ask(Request::Lease(request)).await?.answer {
            Answer::Lease(answer) => Ok(answer),
            other => Err(strange(&other)),
        }
    }

    async fn grant(&self) -> Result<LeaseId, Lack> {
        match self.lease(LeaseRequest::Grant { lease: LeaseId(0), ttl: TTL_S }).await? {
            LeaseAnswer::Grant { lease, .. } => Ok(lease),
            other => Err(strange(&Answer::Lease(other))),
        }
    }

    async fn leases(&mut self) -> Trial {
        let (lease, key) = (self.grant().await?, self.key("leased"));
        let put = Put { key: key.clone(), value: "l".into(), lease, ..Put::default() };
        self.ask(Request::Put(put)).await?;
        self.lease(LeaseRequest::Revoke { lease }).await?;
        let left = self.read(Range { keys: KeyRange::single(key), ..Range::default() }).await?;
        expect(left.is_empty(), "the key of a lease that was revoked is still there")?;
        self.lease = self.grant().await?;
        Ok(())
    }

    async fn lease_answers(&self, capability: Capability) -> Trial {
        let lease = self.lease;
        let request = match capability {
            Capability::LeaseKeepAlive => LeaseRequest::KeepAlive { lease },
            Capability::LeaseTimeToLive => LeaseRequest::TimeToLive { lease, keys: true },
            _ => LeaseRequest::List {},
        };
        let is_right = match self.lease(request).await? {
            LeaseAnswer::KeepAlive { ttl, .. } => ttl > 0,
            LeaseAnswer::TimeToLive { ttl, granted_ttl, .. } => ttl > 0 && granted_ttl > 0,
            LeaseAnswer::List { leases } => leases.contains(&lease),
            LeaseAnswer::Grant { .. } | LeaseAnswer::Revoke {} => false,
        };
        expect(is_right, "a lease that was granted is not known")
    }

    async fn locks(&self) -> Trial {
        let lock = LockRequest::Lock { name: self.key("lock"), lease: self.lease };
        let key = match self.ask(Request::Lock(lock)).await?.answer {
            Answer::Lock(LockAnswer::Lock { key }) => key,
            other => return Err(strange(&other)),
        };
        self.ask(Request::Lock(LockRequest::Unlock { key })).await.map(drop)
    }

    async fn elections(&self) -> Trial {
        let name = self.key("election");
        let campaign = ElectionRequest::Campaign { name: name.clone(), lease: self.lease, value: "e".into() };
        let leader = match self.ask(Request::Election(campaign)).await?.answer {
            Answer::Election(ElectionAnswer::Campaign { leader }) => leader,
            other => return Err(strange(&other)),
        };
        self.ask(Request::Election(ElectionRequest::Leader { name })).await?;
        self.ask(Request::Election(ElectionRequest::Resign { leader })).await.map(drop)
    }

    async fn call(&self, method: &'static str, message: &impl prost::Message) -> Trial {
        let call = Call::new(method, message);
        match call.send(&self.client, self.client.tape()).await {
            Ok(_) => Ok(()),
            Err(AskError::Call(error)) => Err(error.into()),
            Err(other) => Err(Lack::Lacking(other.to_string())),
        }
    }
}
