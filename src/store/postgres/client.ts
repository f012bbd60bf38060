/** The client of PostgreSQL. Nothing else imports it: see `before_client.ts`. */
import { afterClient } from "./before_client.ts";
import { type Client, connect, DatabaseError, type PreparedStatement, SSLMode } from "ts-postgres";

afterClient();

export { type Client, connect, DatabaseError, type PreparedStatement, SSLMode };
