//! Words about why a message, an association or a stream is refused. The codes are those of the journal and of `lazaret inspect`.

use super::words;

words! {
    /// What may be said: why a message, an association or a stream is refused. The codes are those of the journal and of `lazaret inspect`.
    Message {
        Framing = "framing"
            en: "The message did not arrive whole, or is not framed as it should be."
                "Send it again; if this repeats, have the device's network connection and its MLLP or DICOM settings checked."
            fr: "Le message est arrivé incomplet ou mal délimité."
                "Renvoyez-le ; si cela se répète, faites vérifier la connexion réseau de l’appareil et ses réglages MLLP ou DICOM.",
        Encoding = "encoding"
            en: "The message contains characters that cannot be read safely."
                "Have the character set of the device checked; do not send the message again unchanged."
            fr: "Le message contient des caractères illisibles ou non autorisés."
                "Faites vérifier le jeu de caractères réglé sur l’appareil ; ne renvoyez pas le message tel quel.",
        Structure = "structure"
            en: "Parts of the message are missing, misplaced or repeated."
                "Do not send it again unchanged: give the code and the place to the support of the device."
            fr: "Des parties du message manquent, sont mal placées ou en double."
                "Ne le renvoyez pas tel quel : transmettez le code et l’emplacement à l’assistance technique de l’appareil.",
        Field = "field"
            en: "A required value is missing or is not valid."
                "Correct the value at the place that is named and send it again; otherwise call the support of the device."
            fr: "Une valeur obligatoire manque ou n’est pas valide."
                "Corrigez la valeur à l’emplacement indiqué et renvoyez le message ; sinon, appelez l’assistance technique de l’appareil.",
        Embedded = "embedded"
            en: "An attached document is of a kind that is not accepted."
                "Send the document in an accepted format, or ask the hospital's IT department to allow this one."
            fr: "Un document joint est d’un type qui n’est pas accepté."
                "Envoyez le document dans un format accepté, ou demandez au service informatique d’autoriser celui-ci.",
        Sequence = "sequence"
            en: "The device did not keep to the agreed order of the exchange."
                "Start the transmission again on the device; if this repeats, call its support."
            fr: "L’appareil n’a pas respecté l’ordre prévu des échanges."
                "Relancez la transmission depuis l’appareil ; si cela se répète, appelez son assistance technique.",
        Unsupported = "unsupported"
            en: "The gateway does not carry messages of this kind."
                "Do not send it again; ask the hospital's IT department which kinds are accepted."
            fr: "La passerelle ne prend pas en charge ce type de message."
                "Ne le renvoyez pas ; demandez au service informatique quels types de message sont acceptés.",
        Forbidden = "forbidden"
            en: "This message is not allowed for this device."
                "If care needs it, ask the hospital's IT department for a rule that allows it."
            fr: "Ce message n’est pas autorisé pour cet appareil."
                "S’il est nécessaire aux soins, demandez au service informatique une règle qui l’autorise.",
        Identity = "identity"
            en: "The sender or the patient in the message is not one of this device's own."
                "Check which patient is selected on the device, then send it again."
            fr: "L’émetteur ou le patient indiqué n’est pas attribué à cet appareil."
                "Vérifiez quel patient est sélectionné sur l’appareil, puis renvoyez le message.",
        Limit = "limit"
            en: "The message is larger or more complex than allowed."
                "Send it in smaller parts, or ask the hospital's IT department to raise the limit."
            fr: "Le message est plus volumineux ou plus complexe que permis."
                "Envoyez-le en plusieurs parties, ou demandez au service informatique de relever la limite.",
        Rate = "rate"
            en: "The device sends too much in too short a time."
                "Wait a minute, then start the transmission again if the device does not do so by itself."
            fr: "L’appareil envoie trop de données en trop peu de temps."
                "Patientez une minute, puis relancez la transmission si l’appareil ne le fait pas de lui-même.",
        Destination = "destination"
            en: "The hospital's system did not take the message or did not answer."
                "Send it again later; in an emergency, call the department of the hospital."
            fr: "Le système de l’hôpital n’a pas pris le message ou n’a pas répondu."
                "Renvoyez-le plus tard ; en cas d’urgence, appelez directement le service hospitalier.",
    }
}
