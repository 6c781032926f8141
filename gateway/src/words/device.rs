//! Words about how a device stands.

use super::words;

words! {
    /// What may be said: how a device stands.
    Device {
        Pending = "device-pending"
            en: "This device is registered but not approved yet."
                "Ask the hospital's IT department to check it and to approve it with `lazaret device approve`."
            fr: "Cet appareil est enregistré mais n’est pas encore approuvé."
                "Demandez au service informatique de le vérifier et de l’approuver avec `lazaret device approve`.",
        Quarantined = "device-quarantined"
            en: "This device is isolated: nothing passes, neither from it nor to it."
                "Do not rely on it for care; call the hospital's IT department, which releases it once it was checked."
            fr: "Cet appareil est isolé : rien ne passe, ni depuis lui ni vers lui."
                "Ne comptez pas sur lui pour les soins ; appelez le service informatique, qui le libérera après vérification.",
        Remediation = "device-remediation"
            en: "This device is isolated and reaches only the service that repairs it."
                "Let the update or the repair finish, then ask the hospital's IT department to release it."
            fr: "Cet appareil est isolé et ne peut joindre que le service de remise en état."
                "Laissez la mise à jour ou la réparation se terminer, puis demandez au service informatique de le libérer.",
        Expired = "device-expired"
            en: "The time for which this device was let in is over."
                "Ask the hospital's IT department to give it a new end, with `lazaret device extend` or in the files."
            fr: "La durée d’accès accordée à cet appareil est écoulée."
                "Demandez au service informatique de la prolonger, avec `lazaret device extend` ou dans les fichiers.",
        Revoked = "device-revoked"
            en: "The access of this device was withdrawn."
                "If it is still needed, have it enrolled anew; if it was lost or stolen, say so at once."
            fr: "L’accès de cet appareil a été retiré."
                "S’il sert encore, faites-le enrôler à nouveau ; s’il a été perdu ou volé, signalez-le aussitôt.",
        Unknown = "device-unknown"
            en: "The gateway does not know this device or its key."
                "Look for it with `lazaret device list --unknown`; enrol it, or find out whose it is."
            fr: "La passerelle ne connaît pas cet appareil ou sa clé."
                "Cherchez-le avec `lazaret device list --unknown` ; enrôlez-le, ou trouvez à qui il appartient.",
        Contradicted = "device-contradicted"
            en: "The configuration files contradict what is registered of this device."
                "Compare both with `lazaret device show`, then correct the files."
            fr: "Les fichiers de configuration contredisent ce qui est enregistré pour cet appareil."
                "Comparez les deux avec `lazaret device show`, puis corrigez les fichiers.",
        Address = "device-address"
            en: "The device used a network address that is not its own."
                "Check its network settings; if they are right, isolate it with `lazaret device quarantine`."
            fr: "L’appareil a utilisé une adresse réseau qui n’est pas la sienne."
                "Vérifiez ses réglages réseau ; s’ils sont corrects, isolez-le avec `lazaret device quarantine`.",
    }
}
