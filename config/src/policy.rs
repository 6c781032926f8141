//! Who must agree before a policy comes into force.

/// `[policy]`. What is in force decides about what comes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Persons who must agree: 1, or 2.
    pub approvals: u8,
    /// User ids that may use the control socket for policies, beside root and the gateway's own user.
    pub operators: Vec<u32>,
    /// Whose signatures count, each a line of an `allowed_signers` file of OpenSSH.
    pub signers: Vec<String>,
    /// Whether a policy must be signed by one of the signers.
    pub signature_required: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            approvals: 1,
            operators: Vec::new(),
            signers: Vec::new(),
            signature_required: false,
        }
    }
}

impl Policy {
    /// Whether more than one operator's word is needed.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.approvals > 1 || self.signature_required
    }
}
