//! The commands about leases, members, alarms and a member's database that are plain requests, or a few in a row.

use super::{Asked, Probe};
use crate::{
    exit::ExitStatus,
    probe::{
        arguments::{
            Output,
            services::{AlarmAction, AlarmArguments, DefragmentArguments, LeaseCommand, MembersArguments},
        },
        call::Call,
        error::ProbeError,
    },
    proto::etcdserverpb::{self as pb, AlarmType, alarm_request::AlarmAction as Action},
};

/// The question who the members are.
pub fn members(arguments: &MembersArguments) -> Call {
    let request = pb::MemberListRequest { linearizable: !arguments.serializable };
    Call::new("/etcdserverpb.Cluster/MemberList", &request)
}

fn alarm_call(action: Action, member: u64, kind: AlarmType) -> Call {
    let request = pb::AlarmRequest { action: action.into(), member_id: member, alarm: kind.into() };
    Call::new("/etcdserverpb.Maintenance/Alarm", &request)
}

impl Probe<'_> {
    pub(super) async fn lease(&mut self, command: &LeaseCommand) -> Result<ExitStatus, ProbeError> {
        let (asked, call) = match command {
            LeaseCommand::Grant { ttl, id, asked } => {
                let request = pb::LeaseGrantRequest { ttl: *ttl, id: id.unwrap_or_default() };
                (asked, Call::new("/etcdserverpb.Lease/LeaseGrant", &request))
            }
            LeaseCommand::Revoke { id, asked } => {
                (asked, Call::new("/etcdserverpb.Lease/LeaseRevoke", &pb::LeaseRevokeRequest { id: *id }))
            }
            LeaseCommand::TimeToLive { id, keys, asked } => {
                let request = pb::LeaseTimeToLiveRequest { id: *id, keys: *keys };
                (asked, Call::new("/etcdserverpb.Lease/LeaseTimeToLive", &request))
            }
            LeaseCommand::List { asked } => {
                (asked, Call::new("/etcdserverpb.Lease/LeaseLeases", &pb::LeaseLeasesRequest {}))
            }
            LeaseCommand::KeepAlive(arguments) => return self.keep_alive(arguments).await,
        };
        self.call(asked, call).await
    }

    pub(super) async fn alarm(&mut self, arguments: &AlarmArguments) -> Result<ExitStatus, ProbeError> {
        let kind = arguments.kind.map(AlarmType::from);
        match arguments.action {
            AlarmAction::List => {}
            AlarmAction::Raise => {
                let kind = kind.unwrap_or(AlarmType::Nospace);
                let call = alarm_call(Action::Activate, arguments.id.unwrap_or_default(), kind);
                return self.call(&arguments.asked, call).await;
            }
            AlarmAction::Disarm => {
                let asked = self.disarm(arguments, kind).await?;
                if !asked.iter().all(|(_, answer)| answer.is_ok()) {
                    self.show_wire();
                    return Ok(self.show_errors(&asked));
                }
            }
        }
        self.call(&arguments.asked, alarm_call(Action::Get, 0, kind.unwrap_or(AlarmType::None))).await
    }

    /// Ends the alarms that are meant. The server ends one for each request, and only the very one that is named.
    async fn disarm(
        &self,
        arguments: &AlarmArguments,
        kind: Option<AlarmType>,
    ) -> Result<Vec<Asked>, ProbeError> {
        let clients = &self.clients(arguments.asked.member.as_deref())?[..1];
        let mut asked = self.ask(clients, alarm_call(Action::Get, 0, AlarmType::None)).await;
        let standing = asked.iter().find_map(|(_, answer)| answer.as_ref().ok()?.decode().ok());
        let standing: pb::AlarmResponse = standing.unwrap_or_default();
        let is_meant = |alarm: &&pb::AlarmMember| {
            kind.is_none_or(|kind| alarm.alarm() == kind)
                && arguments.id.is_none_or(|member| alarm.member_id == member)
        };
        for alarm in standing.alarms.iter().filter(is_meant) {
            let call = alarm_call(Action::Deactivate, alarm.member_id, alarm.alarm());
            asked.extend(self.ask(clients, call).await);
        }
        Ok(asked)
    }

    /// One member after the other: none answers anything while it does this.
    pub(super) async fn defragment(
        &mut self,
        arguments: &DefragmentArguments,
    ) -> Result<ExitStatus, ProbeError> {
        let clients = self.clients(arguments.member.as_deref())?;
        let mut asked = vec![];
        for client in clients {
            let call = Call::new("/etcdserverpb.Maintenance/Defragment", &pb::DefragmentRequest {});
            asked.extend(self.ask(&[client], call).await);
        }
        let status = self.show(&asked)?;
        let done = asked.iter().filter(|(_, answer)| answer.is_ok());
        let done: Vec<&str> = done.map(|(endpoint, _)| endpoint.name.as_str()).collect();
        if self.output == Output::Text && !done.is_empty() {
            self.printer.answer(format!("\ndefragmented: {}\n", done.join(", ")))?;
        }
        Ok(status)
    }
}
