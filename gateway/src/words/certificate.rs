//! Words about what is wrong with the certificate of a device, or with its handshake.

use super::words;

words! {
    /// What may be said: what is wrong with the certificate of a device, or with its handshake.
    Certificate {
        Missing = "certificate-missing"
            en: "The device showed no certificate."
                "Enrol this machine with `lazaret enroll request`, or name its certificate in its settings."
            fr: "L’appareil n’a présenté aucun certificat."
                "Enrôlez ce poste avec `lazaret enroll request`, ou indiquez son certificat dans ses réglages.",
        Expired = "certificate-expired"
            en: "The certificate of this device has expired, or its clock is wrong."
                "Check date and time, then renew with `lazaret enroll renew`; after the grace, have it enrolled anew."
            fr: "Le certificat de cet appareil a expiré, ou son horloge est fausse."
                "Vérifiez la date et l’heure, puis lancez `lazaret enroll renew` ; passé le délai de grâce, refaites l’enrôlement.",
        Expiring = "certificate-expiring"
            en: "The certificate of this device expires soon."
                "Leave the device switched on and connected so that it renews it, or run `lazaret enroll renew`."
            fr: "Le certificat de cet appareil expire bientôt."
                "Laissez l’appareil allumé et connecté pour qu’il le renouvelle, ou lancez `lazaret enroll renew`.",
        Authority = "certificate-authority"
            en: "The certificate was not issued by this gateway."
                "Check that the right hospital is set on the device; otherwise have it enrolled here."
            fr: "Le certificat n’a pas été délivré par cette passerelle."
                "Vérifiez que l’appareil est réglé pour le bon hôpital ; sinon, faites-le enrôler ici.",
        Use = "certificate-use"
            en: "The certificate is meant for another use."
                "Choose the certificate that was issued for this device, or have it enrolled anew."
            fr: "Le certificat est prévu pour un autre usage."
                "Choisissez le certificat délivré pour cet appareil, ou faites refaire l’enrôlement.",
        Revoked = "certificate-revoked"
            en: "The certificate of this device was revoked."
                "Ask the hospital's IT department why, and have the device enrolled anew."
            fr: "Le certificat de cet appareil a été révoqué."
                "Demandez-en la raison au service informatique et faites enrôler l’appareil à nouveau.",
        Refused = "certificate-refused"
            en: "The gateway does not accept the certificate of this device."
                "Ask the hospital's IT department whether the device is approved; they see why in the journal."
            fr: "La passerelle n’accepte pas le certificat de cet appareil."
                "Demandez au service informatique si l’appareil est approuvé ; le journal lui en donne la raison.",
        HandshakeKeys = "handshake-keys"
            en: "Device and gateway have no common way to agree on keys."
                "Update the software of the device, or compare `post_quantum` on both sides."
            fr: "L’appareil et la passerelle n’ont aucun échange de clés en commun."
                "Mettez à jour le logiciel de l’appareil, ou comparez `post_quantum` des deux côtés.",
        HandshakeFailed = "handshake-failed"
            en: "The secure connection with the device could not be set up."
                "Try again; if this repeats, check network and software of the device."
            fr: "La connexion sécurisée avec l’appareil n’a pas pu être établie."
                "Réessayez ; si cela se répète, vérifiez le réseau et le logiciel de l’appareil.",
        HandshakeFlood = "handshake-flood"
            en: "Very many devices, or an attacker, want to connect at once."
                "Devices try again by themselves; if it does not end, find out with `lazaret device list --unknown`."
            fr: "De très nombreux appareils, ou un attaquant, veulent se connecter en même temps."
                "Les appareils réessaient d’eux-mêmes ; si cela persiste, cherchez avec `lazaret device list --unknown`.",
    }
}
