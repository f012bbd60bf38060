/** The client of PostgreSQL. Nothing else imports it: see `silence.ts`. */
import { speak } from "./silence.ts";
import { type Client, connect, DatabaseError, type PreparedStatement, SSLMode } from "ts-postgres";

speak();

export { type Client, connect, DatabaseError, type PreparedStatement, SSLMode };
