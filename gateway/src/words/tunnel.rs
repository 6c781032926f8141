//! Words about what the client on a clinician's machine says when there is no tunnel.

use super::words;

words! {
    /// What may be said: what the client on a clinician's machine says when there is no tunnel.
    Tunnel {
        NoAnswer = "tunnel-no-answer"
            en: "The gateway does not answer."
                "Check your internet connection; elsewhere than at home, the network may block UDP: try another one."
            fr: "La passerelle ne répond pas."
                "Vérifiez votre connexion Internet ; hors de chez vous, le réseau bloque peut-être UDP : essayez-en un autre.",
        Name = "tunnel-name"
            en: "The name of the gateway could not be looked up."
                "Check your internet connection and the name in your file."
            fr: "Le nom de la passerelle n’a pas pu être résolu."
                "Vérifiez votre connexion Internet et le nom indiqué dans votre fichier.",
        Local = "tunnel-local"
            en: "This computer could not open a connection."
                "Close other programs or restart the computer; if it stays, call your IT support."
            fr: "Cet ordinateur n’a pas pu ouvrir de connexion."
                "Fermez d’autres programmes ou redémarrez l’ordinateur ; si cela persiste, appelez votre assistance informatique.",
        ServerUnknown = "tunnel-server-unknown"
            en: "This may not be the gateway of the hospital: it cannot prove who it is."
                "Do not go on; call the hospital's IT department and compare the file with `ca`."
            fr: "Ce n’est peut-être pas la passerelle de l’hôpital : elle ne peut pas prouver son identité."
                "N’insistez pas ; appelez le service informatique de l’hôpital et comparez le fichier indiqué par `ca`.",
        ServerExpired = "tunnel-server-expired"
            en: "The certificate of the gateway has expired, or the clock of this computer is wrong."
                "Check date and time of this computer; if they are right, call the hospital's IT department."
            fr: "Le certificat de la passerelle a expiré, ou l’horloge de cet ordinateur est fausse."
                "Vérifiez la date et l’heure de cet ordinateur ; si elles sont justes, appelez le service informatique de l’hôpital.",
        ServerName = "tunnel-server-name"
            en: "The certificate of the gateway is for another name."
                "Compare `name` in your file with what the hospital gave you; if it is right, do not go on and call."
            fr: "Le certificat de la passerelle porte un autre nom."
                "Comparez `name` dans votre fichier avec l’indication de l’hôpital ; s’il est juste, n’insistez pas et appelez.",
        Keys = "tunnel-keys"
            en: "This computer and the gateway have no common way to agree on keys."
                "Update this program; then compare `post_quantum` in your file with what the hospital asks for."
            fr: "Cet ordinateur et la passerelle n’ont aucun échange de clés en commun."
                "Mettez ce programme à jour, puis comparez `post_quantum` dans votre fichier avec l’exigence de l’hôpital.",
        None = "tunnel-none"
            en: "The server at this address offers no tunnel."
                "Compare address and port in your file with what the hospital gave you."
            fr: "Le serveur à cette adresse ne propose pas de tunnel."
                "Comparez l’adresse et le port dans votre fichier avec l’indication de l’hôpital.",
        Refused = "tunnel-refused"
            en: "The gateway does not let this device in."
                "Ask the hospital's IT department whether the device is approved and not isolated."
            fr: "La passerelle ne laisse pas entrer cet appareil."
                "Demandez au service informatique de l’hôpital si l’appareil est approuvé et n’est pas isolé.",
        Busy = "tunnel-busy"
            en: "The gateway takes no new connections at the moment."
                "Wait: the next attempt is made by itself."
            fr: "La passerelle n’accepte pas de nouvelle connexion pour le moment."
                "Patientez : la prochaine tentative se fait d’elle-même.",
        Closed = "tunnel-closed"
            en: "The connection to the gateway was lost."
                "Wait: the next attempt is made by itself; if this repeats, check your internet connection."
            fr: "La connexion à la passerelle a été perdue."
                "Patientez : la prochaine tentative se fait d’elle-même ; si cela se répète, vérifiez votre connexion Internet.",
        Taken = "tunnel-taken"
            en: "Another client came with the certificate of this device and has the tunnel now."
                "End the other one, here or on another computer; if you know of none, call the hospital's IT department."
            fr: "Un autre client s’est présenté avec le certificat de cet appareil et a maintenant le tunnel."
                "Arrêtez-le, ici ou sur un autre ordinateur ; si vous n’en connaissez pas, appelez le service informatique de l’hôpital.",
        Protocol = "tunnel-protocol"
            en: "This program and the gateway do not understand each other."
                "Update this program; if this stays, call the hospital's IT department."
            fr: "Ce programme et la passerelle ne se comprennent pas."
                "Mettez ce programme à jour ; si cela persiste, appelez le service informatique de l’hôpital.",
        Service = "tunnel-service"
            en: "This service cannot be used now."
                "Check the name of the service and its hours, or ask the hospital's IT department."
            fr: "Ce service ne peut pas être utilisé maintenant."
                "Vérifiez le nom du service et ses horaires, ou demandez au service informatique de l’hôpital.",
    }
}
