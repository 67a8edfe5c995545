//! Takes a transfer that somebody presents by its transaction as the payment of an invoice, and says so once.
//!
//! The watcher has recorded what reached registered addresses, and only what it recorded is ever claimed. A node is asked about a
//! transaction only to tell why there is no record of it, or not yet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::credit::settle_standings;
use super::naming::Names;
use super::verify::Verdict;
use super::waiting::single_taker;
use super::{Flows, Unavailable};
use crate::chain::Chain;
use crate::chain::address::Proof;
use crate::domain::account::Caller;
use crate::domain::address::Address;
use crate::domain::block::{Block, Heights, Level};
use crate::domain::challenge::Presentation;
use crate::domain::ids::{AccountId, InvoiceId};
use crate::domain::invoice::PaymentOption;
use crate::domain::matching::Basis;
use crate::domain::network::Network;
use crate::domain::payment::{Fingerprint, PaymentRequest, SCHEME_TRANSFER};
use crate::domain::proof::{Presenter, Record, Sought, Way};
use crate::domain::reason::{Reason, Refusal};
use crate::domain::transfer::{TransactionId, Transfer};
use crate::ledger::blocks::Cursor;
use crate::ledger::idempotency::StorageKey;
use crate::ledger::invoices::{self, Assignment, Invoice};
use crate::ledger::transfers::{self, NewClaim, OwnTransfer};
use crate::ledger::{Db, LedgerError, blocks, commit, events, receipts};
use crate::x402::transfer::{TransferPayload, transaction};

/// In whose name a payer is told that presents a transfer itself. To ask again is to be told the same again: whoever serves the payer
/// does so for the receipt, which is redeemed once, and not for this answer.
const PAYER: &str = "payer";

/// A transaction can hold transfers of several payers that look alike. So many of them are asked about at once: which of them has signed
/// is then one question to a node or two.
const PAYERS_AT_ONCE: usize = 16;

/// Pause between attempts to find out whether a lost COMMIT went through.
const FIND_OUT_PAUSE: Duration = Duration::from_millis(200);

/// A transfer that pays an invoice. Nobody else is told this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The invoice.
    pub invoice: InvoiceId,
    /// The transfer.
    pub transfer: Transfer,
    /// The block in which it stands.
    pub block: Block,
    /// On which network.
    pub network: Network,
    /// How deep it stands.
    pub level: Level,
}

/// A transfer that its payer presents, without a resource server in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The transaction that made it.
    pub transaction: TransactionId,
    /// What the payer has signed.
    pub signature: Option<String>,
    /// Where it was made; absent where the payer leaves that to us.
    pub network: Option<Network>,
}

/// A presentation on its way: who presents what, and what it must be.
struct Case<'a> {
    chain: &'a Arc<dyn Chain>,
    sought: Sought,
    /// Whose invoice it is.
    owner: AccountId,
    /// The level that the merchant and the caller want, whatever the operator's rule says.
    level_min: Level,
    transaction: TransactionId,
    presenter: Presenter,
    /// What the payer calls its payment, and what was asked under this name.
    name: Option<(StorageKey, Fingerprint)>,
}

impl Case<'_> {
    fn network(&self) -> &Network {
        &self.chain.profile().network
    }
}

impl Flows {
    /// Whether transfers on a network are recorded, so that they can be presented.
    #[must_use]
    pub fn records_transfers(&self, network: &Network) -> bool {
        self.chains.find(network).is_ok_and(|chain| chain.observes_transfers())
    }

    /// Takes a presented transfer as the payment of the invoice that the requirements name, and tells of it once under each name of a
    /// request. A caller that waits no longer than `within` gets no verdict after that.
    ///
    /// # Errors
    /// A refusal, of which [`Reason::SettlementPending`] may pass, or no verdict.
    pub async fn prove(
        &self,
        request: PaymentRequest,
        caller: &Caller,
        names: Names,
        within: Option<Duration>,
    ) -> Result<Proven, Verdict> {
        let Names { request: taker, payment: name } = names;
        let taker = taker.unwrap_or_else(single_taker);
        let fingerprint = Fingerprint::of(&request, caller);
        let proof = async {
            let case = Case { name: name.map(|name| (name, fingerprint)), ..self.proof_case(&request, caller).await? };
            self.take_proof(&case, &taker).await
        };
        self.in_time(proof, within).await
    }

    /// Takes a transfer that its payer presents for an invoice, in whichever way that can be paid.
    ///
    /// # Errors
    /// See [`Flows::prove`].
    pub async fn present(&self, invoice: &Invoice, presented: Presented) -> Result<Proven, Verdict> {
        let proof = async {
            let case = self.payers_case(invoice, presented).await?;
            self.take_proof(&case, PAYER).await
        };
        self.in_time(proof, None).await
    }

    /// Judges a presentation without changing anything, and returns who paid.
    pub(super) async fn check_proof(&self, request: &PaymentRequest, caller: &Caller) -> Result<Address, Verdict> {
        let case = self.proof_case(request, caller).await?;
        self.look_at_proof(&case, None).await
    }

    /// What a resource server presents. The rules that cost nothing come first.
    async fn proof_case(&self, request: &PaymentRequest, caller: &Caller) -> Result<Case<'_>, Verdict> {
        let refused = |reason, why: &str| Verdict::from(Refusal::because(reason, why));
        if request.accepted_scheme != SCHEME_TRANSFER {
            return Err(refused(Reason::UnsupportedScheme, "the payer accepted another scheme"));
        }
        if !request.accepted_network {
            return Err(refused(Reason::InvalidNetwork, "the payer accepted another network"));
        }
        let payload = TransferPayload::parse(request.network.family(), &request.payload)?;
        let chain = self.recorded_chain(&request.network).await?;
        if chain.profile().asset(request.asset).is_none() {
            return Err(refused(Reason::UnsupportedAsset, "this token is not accepted here"));
        }
        let wrong = |why: &str| refused(Reason::InvalidPaymentRequirements, why);
        let id = request.invoice.as_deref().ok_or_else(|| wrong("extra.invoice: is missing"))?;
        let id = id.parse::<InvoiceId>().map_err(|_| wrong("extra.invoice: is not the name of an invoice"))?;
        let invoice = self.ledger.find_invoice(id).await?.ok_or_else(|| wrong("extra.invoice: there is no such invoice"))?;
        let takes = |option: &PaymentOption| {
            option.network == request.network && option.asset == request.asset && option.pay_to == request.pay_to
        };
        if !invoice.options.iter().any(takes) {
            return Err(wrong("extra.invoice: it cannot be paid like this"));
        }
        let way = Way { asset: request.asset, pay_to: request.pay_to, amount: request.amount };
        let presenter = Presenter::of(caller, invoice.account, payload.signature)?;
        let wanted = request.answer_at.unwrap_or(Level::Included);
        Ok(case(chain, &invoice, vec![way], payload.transaction, presenter, wanted)?)
    }

    /// What a payer presents itself.
    async fn payers_case(&self, invoice: &Invoice, presented: Presented) -> Result<Case<'_>, Verdict> {
        let network = self.network_of(invoice, &presented).await?;
        let chain = self.recorded_chain(&network).await?;
        let ways = invoice.options.iter().filter(|option| option.network == network).map(Way::from).collect();
        let payer = Presenter::of(&Caller::Anonymous, invoice.account, presented.signature)?;
        Ok(case(chain, invoice, ways, presented.transaction, payer, Level::Included)?)
    }

    /// On which of an invoice's networks a transaction is. Its form tells the family. Of several networks the ledger has it on one, or
    /// the payer must say on which a node is to be asked.
    async fn network_of(&self, invoice: &Invoice, presented: &Presented) -> Result<Network, Verdict> {
        let is_possible = |network: &&Network| transaction(network.family(), &presented.transaction).is_ok();
        let mut networks: Vec<_> = invoice.options.iter().map(|option| &option.network).filter(is_possible).collect();
        networks.sort();
        networks.dedup();
        if let Some(named) = &presented.network {
            networks.retain(|network| *network == named);
        }
        if let [only] = networks.as_slice() {
            return Ok((*only).clone());
        }
        if networks.is_empty() {
            let why = "transaction: not one of a network on which the invoice can be paid";
            return Err(Refusal::because(Reason::InvalidPayload, why).into());
        }
        let mut db = self.ledger.acquire().await?;
        for network in networks {
            if !transfers::moved(&mut db, invoice.account, network, &presented.transaction).await?.is_empty() {
                return Ok(network.clone());
            }
        }
        let why = "it is not recorded on any of the invoice's networks: say on which `network` a node is to be asked";
        Err(Refusal::because(Reason::TransferNotFound, why).into())
    }

    /// The adapter of a network whose transfers are recorded, unless it is halted or not ready.
    async fn recorded_chain(&self, network: &Network) -> Result<&Arc<dyn Chain>, Verdict> {
        let chain = self.open_chain(network).await?;
        self.check_begins(network).await?;
        if chain.observes_transfers() {
            return Ok(chain);
        }
        Err(Refusal::because(Reason::UnsupportedScheme, format!("transfers are not recorded on {network}")).into())
    }

    /// Who paid, if `taker` could be told of it now.
    async fn look_at_proof(&self, case: &Case<'_>, taker: Option<&str>) -> Result<Address, Verdict> {
        let records = self.recorded(case).await?;
        let candidates = case.sought.choose(&records, taker)?;
        let chosen = self.presentable(case, &candidates).await?;
        let network = case.network();
        let mut db = self.ledger.acquire().await?;
        check_payment(&mut db, network, chosen).await?;
        drop(db);
        let cursor = self.ledger.cursor(network).await?.ok_or_else(|| Unavailable::NotReady(network.clone()))?;
        check_copy(&cursor, chosen)?;
        self.proof_level(case, chosen, cursor.heights)?;
        Ok(chosen.transfer.from)
    }

    /// What the ledger has of the transaction.
    ///
    /// # Errors
    /// Why it has nothing, or nothing yet.
    async fn recorded(&self, case: &Case<'_>) -> Result<Vec<Record>, Verdict> {
        let recorded = self.read_records(case).await?;
        if !recorded.is_empty() {
            return Ok(recorded);
        }
        self.explain_absence(case).await?;
        // Its block was read: a moment ago, or before the address was the merchant's.
        let recorded = self.read_records(case).await?;
        if recorded.is_empty() {
            let why = "when its block was read, the address that it paid was not this merchant's";
            return Err(Refusal::because(Reason::TransferNotFound, why).into());
        }
        Ok(recorded)
    }

    async fn read_records(&self, case: &Case<'_>) -> Result<Vec<Record>, LedgerError> {
        let mut db = self.ledger.acquire().await?;
        records(&mut db, case).await
    }

    /// Asks a node what became of a transaction that is not recorded. Nothing is left to say if its block was read.
    async fn explain_absence(&self, case: &Case<'_>) -> Result<(), Verdict> {
        let refused = |reason, why: &str| Verdict::from(Refusal::because(reason, why));
        let Some(landed) = case.chain.transfers_of(&case.transaction).await? else {
            return Err(refused(Reason::TransferNotFound, "no node has this transaction in a block"));
        };
        if landed.failed {
            return Err(refused(Reason::TransferFailed, "the transaction failed, and moved nothing"));
        }
        case.sought.check(&landed.transfers)?;
        case.sought.check_time(landed.at)?;
        let read_to = self.ledger.cursor(case.network()).await?.map(|cursor| cursor.heights.head);
        if read_to.is_none_or(|read_to| landed.block > read_to) {
            return Err(refused(Reason::SettlementPending, "its block was not read yet: ask again"));
        }
        Ok(())
    }

    /// The first of these transfers that the presenter may present.
    async fn presentable<'r>(&self, case: &Case<'_>, candidates: &[&'r Record]) -> Result<&'r Record, Verdict> {
        let payer = match &case.presenter {
            Presenter::Owner => candidates.first().map(|record| record.transfer.from),
            Presenter::Payer { signature } => self.signer_among(case, candidates, signature).await?,
        };
        let chosen = candidates.iter().copied().find(|record| Some(record.transfer.from) == payer);
        chosen.ok_or_else(|| signature_invalid().into())
    }

    /// Which of the payers has signed for this transaction and this invoice.
    async fn signer_among(&self, case: &Case<'_>, candidates: &[&Record], signature: &str) -> Result<Option<Address>, Verdict> {
        let mut payers: Vec<_> = candidates.iter().map(|record| record.transfer.from).collect();
        payers.sort_unstable();
        payers.dedup();
        let presentation = Presentation {
            service_url: self.public_url.clone(),
            invoice: case.sought.invoice,
            network: case.network().clone(),
            transaction: case.transaction.clone(),
        };
        let text = presentation.text();
        let mut failure = None;
        for some in payers.chunks(PAYERS_AT_ONCE) {
            let answers = join_all(some.iter().map(|payer| case.chain.verify_message(*payer, &text, signature))).await;
            for (payer, answer) in some.iter().zip(answers) {
                match answer {
                    Ok(Proof::Valid) => return Ok(Some(*payer)),
                    Ok(Proof::Invalid | Proof::Malformed) => {}
                    Err(error) => failure = Some(error),
                }
            }
        }
        failure.map_or(Ok(None), |error| Err(error.into()))
    }

    /// How deep a transfer stands.
    ///
    /// # Errors
    /// Not deep enough yet.
    fn proof_level(&self, case: &Case<'_>, record: &Record, heights: Heights) -> Result<Level, Refusal> {
        let Record { transfer, block, .. } = record;
        let decimals = case.chain.profile().asset(transfer.asset).map_or(0, |asset| asset.decimals);
        let amount = transfer.amount.unwrap_or_default();
        let policy = self.policies.get(case.network()).map(|policy| policy.answer.level(amount, decimals));
        // Merchants and callers may ask for more than the operator's rule, never for less.
        let wanted = policy.unwrap_or(Level::Included).max(case.level_min);
        let reached = heights.level(block.number);
        if reached >= wanted {
            return Ok(reached);
        }
        let why = format!("its block is {}, and must be {}: ask again", reached.as_str(), wanted.as_str());
        Err(Refusal::because(Reason::SettlementPending, why))
    }

    /// Gives the transfer to the invoice and tells `taker` of it, once.
    async fn take_proof(&self, case: &Case<'_>, taker: &str) -> Result<Proven, Verdict> {
        if self.waiting.is_closed() {
            return Err(Unavailable::Stopping.into());
        }
        if let Some((name, fingerprint)) = &case.name {
            self.check_name(name, *fingerprint).await?;
        }
        // Those who present one transfer wait for each other here, and not on connections to the ledger.
        let _turn = self.errands.take((case.network(), &case.transaction)).await;
        let payer = self.look_at_proof(case, Some(taker)).await?;
        self.claim_proof(case, payer, taker).await
    }

    /// The same for what stands now, which may have changed since it was looked at.
    async fn claim_proof(&self, case: &Case<'_>, payer: Address, taker: &str) -> Result<Proven, Verdict> {
        let (network, invoice, now) = (case.network(), case.sought.invoice, self.clock.now());
        let mut db = self.ledger.begin().await?;
        // Blocks are taken in and undone under this lock, so the transfer stands where it stands until the end.
        let is_open = |cursor: &Cursor| cursor.halted.is_none() && cursor.stopped.is_none();
        let cursor = blocks::lock_cursor(&mut db, network).await?.filter(is_open);
        let cursor = cursor.ok_or_else(|| Unavailable::Halted(network.clone()))?;
        transfers::lock_moved(&mut db, case.owner, network, &case.transaction).await?;
        let locked = invoices::lock(&mut db, &[invoice]).await?;
        if locked.iter().all(|locked| locked.terms.canceled) {
            return Err(called_off().into());
        }
        let records = records(&mut db, case).await?;
        let candidates = case.sought.choose(&records, Some(taker))?;
        let chosen = candidates.into_iter().find(|record| record.transfer.from == payer).ok_or_else(told_before)?;
        // Payments claim their transfers under the lock on the cursor, so none comes in between.
        check_payment(&mut db, network, chosen).await?;
        check_copy(&cursor, chosen)?;
        let level = self.proof_level(case, chosen, cursor.heights)?;
        let Record { transfer, occurrence, block, .. } = chosen;
        if !invoices::hand_out(&mut db, network, (transfer, *occurrence), invoice, taker, now).await? {
            return Err(told_before().into());
        }
        if let Some((name, fingerprint)) = &case.name {
            self.take_name(&mut db, name, *fingerprint).await?;
        }
        if chosen.is_free() {
            let claim = NewClaim { transfer, payment: None, invoice: Some((invoice, Basis::Assigned)) };
            transfers::claim(&mut db, network, block, &[claim]).await?;
            receipts::issue(&mut db, network, &block.hash, now).await?;
        }
        let told = settle_standings(&mut db, &BTreeSet::from([invoice]), now).await?;
        events::insert(&mut db, &told, now).await?;
        if let Err(lost) = commit(db).await {
            self.find_told(case, chosen, taker, lost).await?;
        }
        Ok(Proven { invoice, transfer: transfer.clone(), block: block.clone(), network: network.clone(), level })
    }

    /// Finds out whether `taker` was told, after the answer to the COMMIT was lost.
    async fn find_told(&self, case: &Case<'_>, chosen: &Record, taker: &str, lost: LedgerError) -> Result<(), Verdict> {
        // The limit of the whole ends this.
        let said = loop {
            match self.read_assignments(case).await {
                Ok(said) => break said,
                Err(_) => tokio::time::sleep(FIND_OUT_PAUSE).await,
            }
        };
        let is_chosen = |said: &&Assignment| said.is_of(&chosen.transfer, chosen.occurrence);
        let told = said.iter().find(is_chosen).and_then(|said| said.handed_out_to.as_deref());
        if told == Some(taker) { Ok(()) } else { Err(lost.into()) }
    }

    async fn read_assignments(&self, case: &Case<'_>) -> Result<Vec<Assignment>, LedgerError> {
        let mut db = self.ledger.acquire().await?;
        invoices::assignments(&mut db, case.network(), &case.transaction).await
    }
}

fn case<'a>(
    chain: &'a Arc<dyn Chain>,
    invoice: &Invoice,
    ways: Vec<Way>,
    transaction: TransactionId,
    presenter: Presenter,
    wanted: Level,
) -> Result<Case<'a>, Refusal> {
    if invoice.terms.canceled {
        return Err(called_off());
    }
    // Nodes are asked nothing for a text that cannot be a signature.
    if matches!(&presenter, Presenter::Payer { signature } if !chain.is_signature(signature)) {
        return Err(signature_invalid());
    }
    let (created_at, closes_at) = (invoice.created_at, invoice.terms.closes_at);
    Ok(Case {
        chain,
        sought: Sought { invoice: invoice.id, ways, created_at, closes_at },
        owner: invoice.account,
        level_min: invoice.terms.answer_at.max(wanted),
        transaction,
        presenter,
        name: None,
    })
}

/// What the ledger has of a transaction, with what was said of it.
async fn records(db: &mut Db, case: &Case<'_>) -> Result<Vec<Record>, LedgerError> {
    let moved = transfers::moved(db, case.owner, case.network(), &case.transaction).await?;
    if moved.is_empty() {
        return Ok(Vec::new());
    }
    let said = invoices::assignments(db, case.network(), &case.transaction).await?;
    Ok(moved.into_iter().map(|own| record(own, &said)).collect())
}

fn record(own: OwnTransfer, said: &[Assignment]) -> Record {
    let said = said.iter().find(|said| said.is_of(&own.transfer, own.occurrence));
    Record {
        transfer: own.transfer,
        occurrence: own.occurrence,
        block: own.block,
        payment: own.payment,
        invoice: own.invoice.map(|(invoice, _)| invoice),
        assigned: said.map(|said| said.invoice),
        told: said.and_then(|said| said.handed_out_to.clone()),
    }
}

/// Whether a transfer may be told as a proof: what we have signed ourselves is told as the payment in it. Where blocks do not show which
/// payment a transfer is for, it is in the ledger a moment before its payment claims it. One that was told already stays told.
async fn check_payment(db: &mut Db, network: &Network, chosen: &Record) -> Result<(), Verdict> {
    if chosen.told.is_none() && transfers::awaits_payment(db, network, &chosen.transfer.transaction).await? {
        let why = "it is a payment that is settled here, which is not recorded as paid yet: ask for the success of the payment";
        return Err(Refusal::because(Reason::SettlementPending, why).into());
    }
    Ok(())
}

/// Whether somebody may have been told of a transfer without the ledger, which is a copy that was restored, knowing of it.
fn check_copy(cursor: &Cursor, chosen: &Record) -> Result<(), Refusal> {
    if chosen.told.is_none() && cursor.may_be_told(chosen.block.number) { Err(told_before()) } else { Ok(()) }
}

fn called_off() -> Refusal {
    Refusal::because(Reason::InvalidPaymentRequirements, "extra.invoice: it was called off")
}

fn signature_invalid() -> Refusal {
    let why = "it is not the payer's signature over this transaction and this invoice";
    Refusal::because(Reason::ProofSignatureInvalid, why)
}

fn told_before() -> Refusal {
    Refusal::because(Reason::DuplicateSettlement, "somebody was told already what the transfer pays")
}
