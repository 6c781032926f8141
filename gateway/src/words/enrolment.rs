//! Words about why a device is not enrolled. Its bearer hears `enrol-token` of every token that is not good; the journal knows which way.

use super::words;

words! {
    /// What may be said: why a device is not enrolled. Its bearer hears `enrol-token` of every token that is not good; the journal knows which way.
    Enrolment {
        Token = "enrol-token"
            en: "The token is not good, or not any more."
                "Check that all of it was typed; otherwise ask whoever gave it to you for a new one."
            fr: "Le jeton n’est pas valable, ou ne l’est plus."
                "Vérifiez qu’il a été saisi en entier ; sinon, demandez-en un nouveau à la personne qui vous l’a remis.",
        TokenMissing = "enrol-token-missing"
            en: "A token is needed to enrol a device."
                "Ask the hospital's IT department for a token and enter it as the password."
            fr: "Il faut un jeton pour enrôler un appareil."
                "Demandez un jeton au service informatique et saisissez-le comme mot de passe.",
        TokenUnknown = "token-unknown"
            en: "Somebody brought a token that was never made."
                "If nobody made a typing error, find out with `lazaret audit tail` where this comes from."
            fr: "Quelqu’un a présenté un jeton qui n’a jamais été créé."
                "Si personne n’a fait de faute de frappe, cherchez-en l’origine avec `lazaret audit tail`.",
        TokenLate = "token-late"
            en: "The token was brought after its time."
                "Make a new one with `lazaret enroll token create`."
            fr: "Le jeton a été présenté après son délai."
                "Créez-en un nouveau avec `lazaret enroll token create`.",
        TokenUsed = "token-used"
            en: "The token was used before by another device."
                "See with `lazaret enroll token list` by which one; if nobody knows that device, revoke it."
            fr: "Le jeton a déjà servi à un autre appareil."
                "Voyez lequel avec `lazaret enroll token list` ; si personne ne connaît cet appareil, révoquez-le.",
        TokenRevoked = "token-revoked"
            en: "The token was taken back."
                "If the device is to be enrolled all the same, make a new token."
            fr: "Le jeton a été annulé."
                "Si l’appareil doit tout de même être enrôlé, créez un nouveau jeton.",
        TokenSerial = "token-serial"
            en: "The token is for a device with another serial number."
                "Compare the label of the device with the token, and make a new token if that was wrong."
            fr: "Le jeton est destiné à un appareil portant un autre numéro de série."
                "Comparez l’étiquette de l’appareil avec le jeton ; si celui-ci est faux, créez-en un nouveau.",
        TokenName = "token-name"
            en: "The token is for a device with another name."
                "Leave out the name, or make a token for this one."
            fr: "Le jeton est destiné à un appareil portant un autre nom."
                "N’indiquez pas de nom, ou créez un jeton pour celui-ci.",
        TooOften = "enrol-too-often"
            en: "Too many wrong tokens came from this place."
                "Wait ten minutes, then try again with the right token."
            fr: "Trop de jetons erronés sont venus de cet endroit."
                "Patientez dix minutes, puis réessayez avec le bon jeton.",
        Request = "enrol-request"
            en: "The request of the device is not what it should be."
                "Check the settings of its enrolment program, and give this message to its support."
            fr: "La demande de l’appareil n’est pas conforme."
                "Vérifiez les réglages de son programme d’enrôlement et transmettez ce message à son assistance technique.",
        Taken = "enrol-taken"
            en: "Another device has this key, serial number or name already."
                "Make a new key on the device, or choose another name, and try again."
            fr: "Un autre appareil possède déjà cette clé, ce numéro de série ou ce nom."
                "Créez une nouvelle clé sur l’appareil, ou choisissez un autre nom, puis réessayez.",
        Forbidden = "enrol-forbidden"
            en: "As this device stands, it gets no certificate."
                "Ask the hospital's IT department to look at it with `lazaret device show`."
            fr: "Dans son état actuel, cet appareil ne peut pas obtenir de certificat."
                "Demandez au service informatique de l’examiner avec `lazaret device show`.",
        Unavailable = "enrol-unavailable"
            en: "The gateway cannot enrol devices at the moment."
                "Wait a minute and try again."
            fr: "La passerelle ne peut pas enrôler d’appareils pour le moment."
                "Patientez une minute, puis réessayez.",
        Address = "enrol-address"
            en: "There is nothing to enrol at this address."
                "Compare the address with the instructions of the hospital."
            fr: "Il n’y a pas de service d’enrôlement à cette adresse."
                "Comparez l’adresse avec les instructions de l’hôpital.",
    }
}
