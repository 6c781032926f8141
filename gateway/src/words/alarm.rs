//! Words about what the gateway itself says to its technicians.

use super::words;

words! {
    /// What may be said: what the gateway itself says to its technicians.
    Alarm {
        TableDrift = "table-drift"
            en: "Somebody else changed the packet filter; the gateway puts its own rules back."
                "Find out what else changes the filter on this machine; `lazaret status` shows what was different."
            fr: "Le filtrage réseau a été modifié par un autre programme ; la passerelle rétablit ses propres règles."
                "Cherchez ce qui modifie le filtrage sur cette machine ; `lazaret status` indique l’écart.",
        JournalFailed = "journal-failed"
            en: "The journal cannot be written; what is not critical stands still."
                "Look at disk space and rights of its directory at once."
            fr: "Le journal ne peut pas être écrit ; tout ce qui n’est pas critique est arrêté."
                "Vérifiez immédiatement l’espace disque et les droits de son répertoire.",
        DiskFull = "disk-full"
            en: "The disk of the gateway is full."
                "Make room or attach a larger disk; do not delete files of the journal by hand."
            fr: "Le disque de la passerelle est plein."
                "Libérez de la place ou ajoutez un disque ; n’effacez pas à la main les fichiers du journal.",
        RecordsLost = "records-lost"
            en: "Records could not be kept while the journal could not be written."
                "Note the time and the reason: the journal has a gap that it names."
            fr: "Des enregistrements ont été perdus pendant que le journal ne pouvait pas être écrit."
                "Notez l’heure et la raison : le journal comporte une lacune, qu’il indique.",
        RegistryAway = "registry-away"
            en: "The database of devices cannot be used; what is in force stays in force."
                "Have the database brought back; until then no device can be added."
            fr: "La base de données des appareils est indisponible ; ce qui est en vigueur le reste."
                "Faites rétablir la base de données ; d’ici là, aucun appareil ne peut être ajouté.",
        RegistryUnsaved = "registry-unsaved"
            en: "Changes wait to be written to the database of devices."
                "Nothing to do while the number falls; otherwise have the database checked."
            fr: "Des modifications attendent d’être écrites dans la base de données des appareils."
                "Rien à faire tant que leur nombre baisse ; sinon, faites vérifier la base de données.",
        RegistryContradicted = "registry-contradicted"
            en: "Enrolled devices are kept out because the configuration files contradict them."
                "Find them with `lazaret device list`, and correct the files."
            fr: "Des appareils enrôlés sont exclus car les fichiers de configuration les contredisent."
                "Repérez-les avec `lazaret device list`, puis corrigez les fichiers.",
        PolicyHeld = "policy-held"
            en: "Other rules are in force than those in the files."
                "Compare with `lazaret diff`, then `lazaret apply` or restore the files."
            fr: "Les règles en vigueur ne sont pas celles des fichiers."
                "Comparez avec `lazaret diff`, puis lancez `lazaret apply` ou restaurez les fichiers.",
        PolicyHistory = "policy-history"
            en: "The history of the rules cannot be written."
                "Look at disk space and rights of the state directory."
            fr: "L’historique des règles ne peut pas être écrit."
                "Vérifiez l’espace disque et les droits du répertoire d’état.",
        PolicyRefused = "policy-refused"
            en: "New rules were refused; the old ones stay in force."
                "Run `lazaret check`, correct what it names, and apply again."
            fr: "De nouvelles règles ont été refusées ; les anciennes restent en vigueur."
                "Lancez `lazaret check`, corrigez ce qui est indiqué, puis appliquez de nouveau.",
        PolicyUnconfirmed = "policy-unconfirmed"
            en: "New rules are on trial and will be taken back if nobody confirms them."
                "Check that everything works, then run `lazaret confirm`."
            fr: "De nouvelles règles sont à l’essai et seront annulées si personne ne les confirme."
                "Vérifiez que tout fonctionne, puis lancez `lazaret confirm`.",
        PolicyUndone = "policy-undone"
            en: "Nobody confirmed the new rules; the earlier ones are in force again."
                "Apply them again, and confirm in time with `lazaret confirm`."
            fr: "Personne n’a confirmé les nouvelles règles ; les précédentes sont de nouveau en vigueur."
                "Appliquez-les de nouveau, et confirmez à temps avec `lazaret confirm`.",
        AuthorityExpiring = "authority-expiring"
            en: "The certification authority of the gateway ends soon."
                "Begin the next one in good time with `lazaret ca rotate`."
            fr: "L’autorité de certification de la passerelle arrive bientôt à échéance."
                "Préparez la suivante à temps avec `lazaret ca rotate`.",
        AuthorityMissing = "authority-missing"
            en: "There is no certification authority yet: no device can get a certificate."
                "Make one with `lazaret ca init`."
            fr: "Il n’y a pas encore d’autorité de certification : aucun appareil ne peut obtenir de certificat."
                "Créez-en une avec `lazaret ca init`.",
        AuthorityUnavailable = "authority-unavailable"
            en: "The certification authority does not answer: certificates cannot be issued or renewed."
                "Look at `lazaret ca status` and at the log of the process `signer`."
            fr: "L’autorité de certification ne répond pas : aucun certificat ne peut être délivré ni renouvelé."
                "Consultez `lazaret ca status` et le journal système du processus `signer`.",
        WorkerDied = "worker-died"
            en: "A part of the gateway ended unexpectedly and was started again."
                "Connections may have been cut; if this repeats, keep the logs and call the support."
            fr: "Un processus de la passerelle s’est arrêté de façon inattendue et a été relancé."
                "Des connexions ont pu être coupées ; si cela se répète, conservez les journaux et appelez l’assistance technique.",
        ClockDoubt = "clock-doubt"
            en: "The clock of the gateway is not believed."
                "Check date, time and the time server of this machine."
            fr: "L’horloge de la passerelle n’est pas jugée fiable."
                "Vérifiez la date, l’heure et le serveur de temps de cette machine.",
        PeerChangeRefused = "peer-change-refused"
            en: "Somebody wanted to change a device's tunnel past the gateway, and was refused."
                "Find out who used `wg set`, and change devices with `lazaret device` alone."
            fr: "Quelqu’un a voulu modifier un tunnel sans passer par la passerelle ; cela a été refusé."
                "Cherchez qui a utilisé `wg set`, et ne modifiez les appareils qu’avec `lazaret device`.",
        BreakGlassOpen = "break-glass-open"
            en: "Emergency access is open: somebody may more than the rules allow."
                "Check who asked for it and why; it ends by itself at the time that is shown."
            fr: "Un accès d’urgence est ouvert : quelqu’un dispose de droits au-delà des règles."
                "Vérifiez qui l’a demandé et pourquoi ; il prend fin de lui-même à l’heure indiquée.",
        BreakGlassEnded = "break-glass-ended"
            en: "Emergency access has ended: only the rules hold again."
                "Go through what was done in the journal, and note the reason."
            fr: "L’accès d’urgence a pris fin : seules les règles s’appliquent de nouveau."
                "Relisez dans le journal ce qui a été fait, et consignez le motif.",
        BreakGlassRefused = "break-glass-refused"
            en: "Emergency access was refused."
                "Give a reason and a time within the longest allowed, or ask somebody who may open it."
            fr: "L’accès d’urgence a été refusé."
                "Indiquez un motif et une durée permise, ou adressez-vous à une personne habilitée.",
        BehaviourService = "behaviour-service"
            en: "A device uses a service that it never used before."
                "Ask whoever uses the device whether that is meant; if not, `lazaret device quarantine`."
            fr: "Un appareil utilise un service qu’il n’avait jamais utilisé."
                "Demandez à son utilisateur si c’est voulu ; sinon, lancez `lazaret device quarantine`.",
        BehaviourKind = "behaviour-kind"
            en: "A device sends a kind of message or image that it never sent before."
                "Ask whoever uses the device whether it was updated or is used otherwise; if not, isolate it."
            fr: "Un appareil envoie un type de message ou d’image qu’il n’avait jamais envoyé."
                "Demandez à son utilisateur s’il a été mis à jour ou changé d’usage ; sinon, isolez-le.",
        BehaviourRate = "behaviour-rate"
            en: "A device sends far more than it is used to."
                "See with `lazaret device show` what it sends; if nobody can explain it, isolate it."
            fr: "Un appareil envoie bien plus que d’habitude."
                "Voyez ce qu’il envoie avec `lazaret device show` ; si personne ne peut l’expliquer, isolez-le.",
        BehaviourHour = "behaviour-hour"
            en: "A device is active at an hour at which it never was."
                "Ask whoever uses the device; if nobody works with it at this hour, isolate it."
            fr: "Un appareil est actif à une heure inhabituelle."
                "Demandez à son utilisateur ; si personne ne s’en sert à cette heure, isolez-le.",
        BehaviourQuarantined = "behaviour-quarantined"
            en: "A device was isolated by itself because it behaved unlike before."
                "Check the device, then `lazaret device release`, or keep it isolated and call its support."
            fr: "Un appareil a été isolé automatiquement à cause d’un comportement inhabituel."
                "Vérifiez l’appareil, puis lancez `lazaret device release`, ou laissez-le isolé et appelez son assistance technique.",
    }
}
