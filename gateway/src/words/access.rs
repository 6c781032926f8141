//! Words about why a connection is refused or ended.

use super::words;

words! {
    /// What may be said: why a connection is refused or ended.
    Access {
        NoRule = "no-rule"
            en: "No rule allows this device to reach this service now."
                "If it is needed, ask `lazaret explain` which rule is missing, or at which hours it holds."
            fr: "Aucune règle n’autorise actuellement cet appareil à joindre ce service."
                "Si l’accès est nécessaire, cherchez avec `lazaret explain` la règle qui manque ou ses horaires.",
        OutsideHours = "outside-hours"
            en: "This access is allowed at certain hours only."
                "Come back within these hours, or ask the hospital's IT department for emergency access."
            fr: "Cet accès n’est autorisé qu’à certaines heures."
                "Revenez pendant ces horaires, ou demandez un accès d’urgence au service informatique.",
        ServiceUnknown = "service-unknown"
            en: "There is no service of the hospital at this address."
                "Check address and port in the settings of the device."
            fr: "Aucun service de l’hôpital ne se trouve à cette adresse."
                "Vérifiez l’adresse et le port dans les réglages de l’appareil.",
        NotSteered = "not-steered"
            en: "The connection did not come by the way that it should."
                "Connect to the address of the service, not to the gateway itself."
            fr: "La connexion n’est pas arrivée par le chemin prévu."
                "Connectez-vous à l’adresse du service, et non à la passerelle elle-même.",
        TooManyConnections = "too-many-connections"
            en: "There are too many connections of or to this device at once."
                "Close programs that are not needed, then try again."
            fr: "Il y a trop de connexions simultanées avec cet appareil."
                "Fermez les programmes inutiles, puis réessayez.",
        GatewayFull = "gateway-full"
            en: "The gateway carries as many connections as it can."
                "Try again in a few minutes; in an emergency, call the hospital."
            fr: "La passerelle a atteint son nombre maximal de connexions."
                "Réessayez dans quelques minutes ; en cas d’urgence, appelez l’hôpital.",
        GatewayDraining = "gateway-draining"
            en: "The gateway is about to restart and takes nothing new."
                "Try again in a few minutes."
            fr: "La passerelle va redémarrer et n’accepte plus de nouvelle connexion."
                "Réessayez dans quelques minutes.",
        ConsoleHours = "console-hours"
            en: "The remote session ended because its hours are over."
                "Come back within the hours, or ask the hospital's IT department for emergency access."
            fr: "La session à distance a pris fin car l’horaire autorisé est dépassé."
                "Revenez pendant les horaires, ou demandez un accès d’urgence au service informatique.",
        ConsoleIdle = "console-idle"
            en: "The remote session ended because nothing was done in it for too long."
                "Connect again when you need it."
            fr: "La session à distance a pris fin après une trop longue inactivité."
                "Reconnectez-vous quand vous en avez besoin.",
        ConsoleTotal = "console-total"
            en: "The remote session ended because it lasted as long as it may."
                "Connect again; if your work needs more time at once, ask the hospital's IT department."
            fr: "La session à distance a pris fin car elle a atteint sa durée maximale."
                "Reconnectez-vous ; s’il vous faut plus de temps d’un trait, demandez-le au service informatique.",
        ConsoleEmergency = "console-emergency"
            en: "The remote session ended because the emergency access that allowed it is over."
                "If you still need it, ask the hospital's IT department to open it again."
            fr: "La session à distance a pris fin car l’accès d’urgence qui l’autorisait est terminé."
                "S’il vous est encore nécessaire, demandez au service informatique de le rouvrir.",
        ConsoleFull = "console-full"
            en: "As many remote sessions are open as there may be."
                "Close one that is not needed, or wait until one ends."
            fr: "Le nombre maximal de sessions à distance est atteint."
                "Fermez-en une qui ne sert plus, ou attendez que l’une d’elles se termine.",
        SessionEnded = "session-ended"
            en: "An administrator ended this session."
                "Ask the hospital's IT department why before you connect again."
            fr: "Un administrateur a mis fin à cette session."
                "Demandez-en la raison au service informatique avant de vous reconnecter.",
    }
}
