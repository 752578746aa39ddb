//! Requests of the services beside the key-value one: each is one call, or a stream that is read to its end or to its
//! first answer. In go operations, out come answers or errors, under the client's deadline as a whole.

use tonic::codegen::tokio_stream;

use super::{
    ANSWER_AT_MOST_BYTES, Answered, CallError, Client, call_error,
    tap::Tap,
    wire::{interval, service as wire},
};
use crate::{
    operation::{
        Response,
        auth::AuthRequest,
        service::{ElectionRequest, LeaseRequest, LockRequest, MaintenanceRequest},
    },
    proto::{
        etcdserverpb::{self as pb, auth_client::AuthClient},
        v3electionpb::{self, election_client::ElectionClient},
        v3lockpb::{self, lock_client::LockClient},
    },
    types::LeaseId,
};

impl Client {
    pub(super) async fn perform_lease(
        &self,
        request: &LeaseRequest,
    ) -> Result<Answered<Response>, CallError> {
        let mut stub = self.lease();
        Ok(match request {
            LeaseRequest::Grant { lease, ttl } => self
                .unary(pb::LeaseGrantRequest { ttl: *ttl, id: lease.0 }, |message| stub.lease_grant(message))
                .await?
                .try_map(|response| wire::granted(&response))?,
            LeaseRequest::Revoke { lease } => self
                .unary(pb::LeaseRevokeRequest { id: lease.0 }, |message| stub.lease_revoke(message))
                .await?
                .try_map(wire::revoked)?,
            LeaseRequest::KeepAlive { lease } => self.keep_alive(*lease).await?.try_map(wire::kept_alive)?,
            LeaseRequest::TimeToLive { lease, keys } => {
                let message = pb::LeaseTimeToLiveRequest { id: lease.0, keys: *keys };
                self.unary(message, |message| stub.lease_time_to_live(message))
                    .await?
                    .try_map(wire::time_to_live)?
            }
            LeaseRequest::List {} => self
                .unary(pb::LeaseLeasesRequest {}, |message| stub.lease_leases(message))
                .await?
                .try_map(|response| wire::leases(&response))?,
        })
    }

    /// One message on a stream of its own, which ends with its answer.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Answered<pb::LeaseKeepAliveResponse>, CallError> {
        let mut stub = self.lease();
        let messages = tokio_stream::iter([pb::LeaseKeepAliveRequest { id: lease.0 }]);
        let answer = async {
            let Answered { message: mut answers, connection } =
                self.unary(messages, |messages| stub.lease_keep_alive(messages)).await?;
            let message = answers.message().await.map_err(|status| call_error(&status))?;
            let message = message
                .ok_or_else(|| CallError::Transport("the stream ended without an answer".to_owned()))?;
            Ok(Answered { message, connection })
        };
        self.in_time(answer).await
    }

    pub(super) async fn perform_lock(&self, request: &LockRequest) -> Result<Answered<Response>, CallError> {
        let mut stub = LockClient::with_origin(self.tap(), self.origin());
        Ok(match request {
            LockRequest::Lock { name, lease } => {
                let message = v3lockpb::LockRequest { name: name.into(), lease: lease.0 };
                self.unary(message, |message| stub.lock(message)).await?.try_map(wire::locked)?
            }
            LockRequest::Unlock { key } => {
                let message = v3lockpb::UnlockRequest { key: key.into() };
                self.unary(message, |message| stub.unlock(message)).await?.try_map(wire::unlocked)?
            }
        })
    }

    pub(super) async fn perform_election(
        &self,
        request: &ElectionRequest,
    ) -> Result<Answered<Response>, CallError> {
        let mut stub = self.election();
        Ok(match request {
            ElectionRequest::Campaign { name, lease, value } => {
                let message =
                    v3electionpb::CampaignRequest { name: name.into(), lease: lease.0, value: value.into() };
                self.unary(message, |message| stub.campaign(message)).await?.try_map(wire::elected)?
            }
            ElectionRequest::Proclaim { leader, value } => {
                let leader = Some(wire::leader_key(leader));
                let message = v3electionpb::ProclaimRequest { leader, value: value.into() };
                self.unary(message, |message| stub.proclaim(message)).await?.try_map(wire::proclaimed)?
            }
            ElectionRequest::Leader { name } => {
                let message = v3electionpb::LeaderRequest { name: name.into() };
                self.unary(message, |message| stub.leader(message)).await?.try_map(wire::leader)?
            }
            ElectionRequest::Resign { leader } => {
                let message = v3electionpb::ResignRequest { leader: Some(wire::leader_key(leader)) };
                self.unary(message, |message| stub.resign(message)).await?.try_map(wire::resigned)?
            }
        })
    }

    pub(super) async fn perform_maintenance(
        &self,
        request: &MaintenanceRequest,
    ) -> Result<Answered<Response>, CallError> {
        let mut stub = self.maintenance();
        Ok(match request {
            MaintenanceRequest::Status {} => self.status().await?.try_map(wire::status)?,
            MaintenanceRequest::HashKv { revision } => self
                .unary(pb::HashKvRequest { revision: revision.0 }, |message| stub.hash_kv(message))
                .await?
                .try_map(|response| wire::hash_kv(&response))?,
            MaintenanceRequest::Defragment {} => self
                .unary(pb::DefragmentRequest {}, |message| stub.defragment(message))
                .await?
                .try_map(|response| Ok(wire::defragmented(&response)))?,
            MaintenanceRequest::Snapshot {} => self.in_time(self.snapshot()).await?,
            MaintenanceRequest::MoveLeader { to } => self
                .unary(pb::MoveLeaderRequest { target_id: to.0 }, |message| stub.move_leader(message))
                .await?
                .try_map(|response| Ok(wire::leader_moved(&response)))?,
        })
    }

    /// Users have their names for passwords.
    pub(super) async fn perform_auth(&self, request: &AuthRequest) -> Result<Answered<Response>, CallError> {
        let mut stub = AuthClient::with_origin(self.tap(), self.origin());
        Ok(match request.clone() {
            AuthRequest::Enable {} => self
                .unary(pb::AuthEnableRequest {}, |message| stub.auth_enable(message))
                .await?
                .try_map(|response| wire::authorized(response.header.as_ref()))?,
            AuthRequest::UserAdd { user } => {
                let (name, password) = (user.clone(), user);
                let message = pb::AuthUserAddRequest { name, password, ..pb::AuthUserAddRequest::default() };
                let answered = self.unary(message, |message| stub.user_add(message)).await?;
                answered.try_map(|response| wire::authorized(response.header.as_ref()))?
            }
            AuthRequest::UserGrantRole { user, role } => self
                .unary(pb::AuthUserGrantRoleRequest { user, role }, |message| stub.user_grant_role(message))
                .await?
                .try_map(|response| wire::authorized(response.header.as_ref()))?,
            AuthRequest::UserRevokeRole { user: name, role } => self
                .unary(pb::AuthUserRevokeRoleRequest { name, role }, |message| stub.user_revoke_role(message))
                .await?
                .try_map(|response| wire::authorized(response.header.as_ref()))?,
            AuthRequest::RoleAdd { role: name } => self
                .unary(pb::AuthRoleAddRequest { name }, |message| stub.role_add(message))
                .await?
                .try_map(|response| wire::authorized(response.header.as_ref()))?,
            AuthRequest::RoleGrantPermission { role: name, access, keys } => {
                let message =
                    pb::AuthRoleGrantPermissionRequest { name, perm: Some(wire::permission(access, &keys)) };
                let answered = self.unary(message, |message| stub.role_grant_permission(message)).await?;
                answered.try_map(|response| wire::authorized(response.header.as_ref()))?
            }
            AuthRequest::RoleRevokePermission { role, keys } => {
                let (key, range_end) = interval(&keys);
                let message = pb::AuthRoleRevokePermissionRequest { role, key, range_end };
                let answered = self.unary(message, |message| stub.role_revoke_permission(message)).await?;
                answered.try_map(|response| wire::authorized(response.header.as_ref()))?
            }
        })
    }

    /// The whole database, counted and dropped.
    async fn snapshot(&self) -> Result<Answered<Response>, CallError> {
        let mut stub = self.maintenance();
        let Answered { message: mut parts, connection } =
            self.unary(pb::SnapshotRequest {}, |message| stub.snapshot(message)).await?;
        let (mut header, mut bytes) = (None, 0);
        while let Some(part) = parts.message().await.map_err(|status| call_error(&status))? {
            bytes += part.blob.len() as u64;
            header = header.or(part.header);
        }
        Ok(Answered { message: wire::snapshot(header.as_ref(), bytes), connection })
    }

    /// The election service's stub on this member's channel.
    pub fn election(&self) -> ElectionClient<Tap> {
        ElectionClient::with_origin(self.tap(), self.origin()).max_decoding_message_size(ANSWER_AT_MOST_BYTES)
    }
}
